"""Commands that make and show data."""

from collections.abc import Sequence
from pathlib import Path

from sparsedense.cli.parser import parse_function
from sparsedense.cli.tables import print_prepared


def actors(arguments: Sequence[str]) -> None:
    """Generate videos of people who act, to try things on."""
    from sparsedense.actors.dataset import make_actors
    from sparsedense.progress import progress_bar

    values = parse_function(make_actors, "actors", arguments, skip={"actions", "settings", "progress"})
    with progress_bar("actors") as advance:
        made = make_actors(**values, progress=advance)
    print(f"{sum(made.videos.values())} videos; next, `sparsedense prepare {made.out} --out STORE`")


def prepare(arguments: Sequence[str]) -> None:
    """Decode a folder of videos once into a store of frames."""
    from sparsedense.data.prepare import PrepareProgress
    from sparsedense.data.prepare import prepare as prepare_store
    from sparsedense.progress import progress_bar

    values = parse_function(prepare_store, "prepare", arguments, skip={"max_shard_bytes", "progress"})
    latest: list[PrepareProgress] = []

    def note() -> str:
        state = latest[-1]
        rates = f"{state.files_per_second:.1f} files/s  {state.frames_per_second:.0f} frames/s"
        return rates + (f"  {state.rejected} rejected" if state.rejected else "")

    with progress_bar("prepare", note=note) as advance:

        def show(state: PrepareProgress) -> None:
            latest[:] = [state]
            advance(state.done, state.total)

        summary = prepare_store(**values, progress=show)
    print_prepared(summary)


def inspect(arguments: Sequence[str]) -> None:
    """Show what a store holds: classes, lengths, rejects, a contact sheet."""

    def command(
        store: Path,
        contact_sheet: Path | None = None,
        clip_length: int = 16,
        skip_ratio: float = 4.0,
        min_dense_stride_frames: float = 1.7,
    ) -> None:
        """Count classes, frames and rejects, tell what the length filter leaves, and draw a contact sheet.

        Args:
            store: folder that `prepare` made.
            contact_sheet: PNG to write; `contact_sheet.png` in the store if not given.
            clip_length: frames of a clip, for the length filter.
            skip_ratio: sparse stride over dense stride, for the length filter.
            min_dense_stride_frames: the least dense stride that the length filter allows.
        """
        from sparsedense.data.contact_sheet import contact_sheet as draw_contact_sheet
        from sparsedense.data.inspect import inspect_store, print_summary

        summary = inspect_store(
            store,
            clip_length=clip_length,
            skip_ratio=skip_ratio,
            min_dense_stride_frames=min_dense_stride_frames,
        )
        print_summary(summary)
        print(f"contact sheet: {draw_contact_sheet(store, contact_sheet or store / 'contact_sheet.png')}")

    command(**parse_function(command, "inspect", arguments))
