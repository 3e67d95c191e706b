"""What `sparsedense datasets` prints: all data sets, one in detail, a folder's check, the paper's counts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sparsedense.data.datasets.description import DatasetDescription
    from sparsedense.data.datasets.paper import PaperCount


def print_datasets(descriptions: Mapping[str, "DatasetDescription"]) -> None:
    """Two lines a data set: what it is, how large, where it comes from."""
    width = max(map(len, descriptions))
    for name, about in descriptions.items():
        splits = f", {about.splits} splits" if about.splits > 1 else ""
        print(f"{name:{width}}  {about.title}: {about.videos}, {about.classes} classes{splits}")
        print(f"{'':{width}}  {about.size}, {about.page}")
    print()
    print("`sparsedense datasets NAME` tells what to download and how it must lie")
    print("`sparsedense datasets NAME SOURCE` checks a folder, in seconds")
    print("`sparsedense prepare SOURCE --dataset NAME --out STORE` makes the store")


def print_description(name: str, about: "DatasetDescription") -> None:
    """All of one data set."""
    lines = [
        f"{about.title}: {about.videos}, {about.classes} classes, {about.splits} official "
        f"split{'s' * (about.splits > 1)}, {about.size}",
        f"  {about.page}",
        "download",
        *(f"  {step}" for step in about.download),
        "layout",
        *(f"  {line}" for line in about.layout.splitlines()),
        "to know",
        *(f"  {line}" for line in about.about),
        "the lists may lie in a folder of their own: --lists FOLDER",
    ]
    if about.kind == "videos":
        option = " --split 1" if about.splits > 1 else ""
        lines.append(f"next, `sparsedense prepare SOURCE --dataset {name}{option} --out STORE`")
    print("\n".join(lines))


def print_check(
    name: str,
    splits: Iterable[str],
    classes: int,
    notes: Iterable[str],
    missing: Iterable[str],
    missing_list: Path | None,
) -> None:
    """How many videos a folder has of each split, what is odd, and the missing ones into a file."""
    counts = Counter(splits)
    parts = [f"{split} {counts[split]:,}" for split in ("train", "val", "test", "unlabelled") if counts[split]]
    print(f"{name}: {counts.total():,} videos found ({', '.join(parts)}), {classes} classes")
    for note in notes:
        print(f"  {note}")
    missing = list(missing)
    if missing_list is not None:
        missing_list.write_text("".join(f"{video}\n" for video in missing), encoding="utf-8")
        print(f"  {len(missing):,} missing videos listed in {missing_list}")


def print_paper_counts(counts: Iterable["PaperCount"], min_frames: int) -> None:
    """The paper's Table 1 beside what the lists or a store give."""
    table = Table(title=f"the paper's Table 1; the length filter asks for {min_frames} frames", title_justify="left")
    for title in ("set", "paper", "listed", "length known", "long enough", "used"):
        table.add_column(title, justify="left" if title == "set" else "right")
    console = Console()
    notes = []
    for count in counts:
        numbers = (count.paper, count.listed, count.measured, count.kept, count.used)
        table.add_row(count.role, *(f"{number:,}" for number in numbers))
        verdict = "as the paper" if count.used == count.paper else "differs from the paper"
        notes.append(f"{count.role}: {verdict}" + (f"; {count.why}" if count.why else ""))
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, markup=False)
