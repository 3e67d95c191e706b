"""Commands that make and show data."""

import sys
from collections.abc import Sequence
from pathlib import Path

from sparsedense.cli.parser import parse_function
from sparsedense.cli.tables import print_prepared
from sparsedense.video.url import is_url

_SHEET_NAME = "contact_sheet.png"


def actors(arguments: Sequence[str]) -> None:
    """Generate videos of people who act, to try things on."""
    from sparsedense.actors.dataset import make_actors
    from sparsedense.progress import progress_bar

    values = parse_function(make_actors, "actors", arguments, skip={"actions", "settings", "progress"})
    with progress_bar("actors") as advance:
        made = make_actors(**values, progress=advance)
    print(f"{sum(made.videos.values())} videos; next, `sparsedense prepare {made.out} --out STORE`")


def prepare(arguments: Sequence[str]) -> int:
    """Decode a folder of videos once into a store of frames; again, go on or bring it up to date."""
    from sparsedense.data.prepare import PrepareProgress
    from sparsedense.data.prepare import prepare as prepare_store
    from sparsedense.progress import progress_bar

    skip = {"max_shard_bytes", "progress"}
    values = parse_function(prepare_store, "prepare", arguments, skip=skip, out_may_be_url=True)
    latest: list[PrepareProgress] = []

    def note() -> str:
        state = latest[-1]
        rates = f"{state.files_per_second:.1f} files/s  {state.frames_per_second:.0f} frames/s"
        return rates + (f"  {state.rejected} rejected" if state.rejected else "")

    with progress_bar("prepare", note=note) as advance:

        def show(state: PrepareProgress) -> None:
            latest[:] = [state]
            advance(state.done, state.total)

        try:
            summary = prepare_store(**values, progress=show)
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on where it was", file=sys.stderr)
            return 130
    print_prepared(summary)
    return 0


def merge(arguments: Sequence[str]) -> None:
    """Put stores together: the parts of `prepare --shard`, or stores of several sources."""

    def command(stores: list[str], out: str, overwrite: bool = False) -> None:
        """Put stores together without decoding; the parts of one source, in any order, become the store of one run.

        Args:
            stores: folders that `prepare` made, or their URLs.
            out: folder of the store to make, or a URL to put it to.
            overwrite: replace a store that exists.
        """
        from sparsedense.data.preparation.merge import merge_stores

        print_prepared(merge_stores(stores, out, overwrite=overwrite))

    several = ("stores", "folders that `prepare` made, or their URLs")
    command(**parse_function(command, "merge", arguments, several=several, out_may_be_url=True))


def inspect(arguments: Sequence[str]) -> None:
    """Show what a store holds: classes, lengths, rejects, a contact sheet."""

    def command(
        store: str,
        recipe: str = "sparsedense",
        contact_sheet: Path | None = None,
        clip_length: int | None = None,
        skip_ratio: float | None = None,
        min_dense_stride_frames: float | None = None,
    ) -> None:
        """Count classes, frames and rejects, tell what the length filter leaves, and draw a contact sheet.

        Args:
            store: folder that `prepare` made, or its URL.
            recipe: whose clips decide which videos are long enough: a name, a YAML file, or several joined by +.
            contact_sheet: PNG to write; `contact_sheet.png` if not given, in the store, or here for one at a URL.
            clip_length: frames of a clip, in place of the recipe's.
            skip_ratio: sparse stride over dense stride, in place of the recipe's.
            min_dense_stride_frames: the least dense stride that the length filter allows, in place of the recipe's.
        """
        from sparsedense.config import load_experiment
        from sparsedense.data.contact_sheet import contact_sheet as draw_contact_sheet
        from sparsedense.data.inspect import inspect_store, print_summary

        ratios = {} if skip_ratio is None else {"skip_ratio": skip_ratio, "other_skip_ratios": []}
        told = {"length": clip_length, "min_dense_stride_frames": min_dense_stride_frames}
        changed = ratios | {name: value for name, value in told.items() if value is not None}
        summary = inspect_store(store, clips=load_experiment(recipe, clips=changed).clips)
        print_summary(summary, recipe=recipe)
        beside = Path(_SHEET_NAME) if is_url(store) else Path(store) / _SHEET_NAME
        print(f"contact sheet: {draw_contact_sheet(store, contact_sheet or beside)}")

    command(**parse_function(command, "inspect", arguments))


def datasets(arguments: Sequence[str]) -> None:
    """List the public data sets that can be read: what to download, from where, the layout."""

    def command(
        name: str = "",
        source: Path | None = None,
        split: int = 1,
        lists: Path | None = None,
        missing: Path | None = None,
        store: Path | None = None,
    ) -> None:
        """List the data sets; with a name, tell its download and layout; with a folder too, check it.

        `datasets NAME SOURCE` reads the folder as `prepare SOURCE --dataset NAME` would, in seconds.
        `datasets paper --lists FOLDER` counts what the length filter leaves of the paper's data.

        Args:
            name: name of a data set, as a first word: `datasets ucf101`.
            source: folder with its videos, as a second word.
            split: number of the official split, for the check.
            lists: folder with the data set's lists, where they do not lie below the source.
            missing: file to write the names of the missing videos to.
            store: a store of the paper's data, to count in.
        """
        from sparsedense.cli import dataset_tables
        from sparsedense.data.datasets import DATASETS, describe_dataset

        if not name:
            dataset_tables.print_datasets(DATASETS)
        elif source is not None:
            _check_dataset(name, source, split=split, lists=lists, missing=missing)
        elif name == "paper" and (lists or store):
            _count_paper(lists, store)
        else:
            dataset_tables.print_description(name, describe_dataset(name))

    command(**parse_function(command, "datasets", _with_flags(arguments, ("name", "source"))))


def _with_flags(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Leading words written as flags: they are optional, and the parser takes only required arguments by position."""
    words = []
    for name, word in zip(names, arguments, strict=False):
        if word.startswith("-"):
            break
        words.append(f"--{name}={word}")
    return [*words, *arguments[len(words) :]]


def _check_dataset(name: str, source: Path, *, split: int, lists: Path | None, missing: Path | None) -> None:
    from sparsedense.cli.dataset_tables import print_check
    from sparsedense.data.datasets import describe_dataset, read_dataset, read_segments

    if describe_dataset(name).kind == "segments":
        found = read_segments(name, source, lists=lists)
        there = [video for video in found.videos if video.path is not None]
        splits, classes = [video.split for video in there], len(found.class_names)
        print_check(name, splits, classes, found.notes, found.missing, missing)
        return
    catalog = read_dataset(name, source, split=split, lists=lists)
    labels = {entry.label for entry in catalog} - {None}
    print_check(name, [entry.split for entry in catalog], len(labels), catalog.notes, catalog.missing, missing)


def _count_paper(lists: Path | None, store: Path | None) -> None:
    from sparsedense.cli.dataset_tables import print_paper_counts
    from sparsedense.data.clip_config import ClipConfig
    from sparsedense.data.datasets.paper import paper_counts_of_lists, paper_counts_of_store
    from sparsedense.data.store import FrameStore

    min_frames = ClipConfig().min_frames
    if store is not None:
        print_paper_counts(paper_counts_of_store(FrameStore(store), min_frames=min_frames), min_frames)
    elif lists is not None:
        print_paper_counts(paper_counts_of_lists(lists, min_frames=min_frames), min_frames)
