"""What was found as people read it and as programs take it: a table and JSON."""

from collections.abc import Sequence
from typing import Any

from sparsedense.retrieval.queries import Retrieval

_BAR_WIDTH = 12
UNLABELLED = "unlabelled"


def retrieval_record(retrieval: Retrieval) -> dict[str, Any]:
    """What was found for a video as JSON can hold it; the keys are always the same."""
    return {
        "query": retrieval.query,
        "view": retrieval.view,
        "neighbours": [
            {
                "rank": rank,
                "similarity": round(each.similarity, 6),
                "label": each.label,
                "path": each.path,
                "video_id": each.video_id,
                "group": each.group,
                "split": each.split,
            }
            for rank, each in enumerate(retrieval.neighbours, 1)
        ],
        "damage": retrieval.damage,
        "error": retrieval.error,
    }


def print_retrievals(retrievals: Sequence[Retrieval]) -> None:
    """A table for each video, with a bar for each similarity; videos that could not be read are left out."""
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    for retrieval in retrievals:
        if retrieval.error is not None:
            continue
        table = Table(title=Text(f"{retrieval.query} ({retrieval.view} features)", style="bold"), title_justify="left")
        table.add_column("", justify="right")
        table.add_column("class", overflow="fold")
        table.add_column("similarity", justify="right")
        table.add_column("", width=_BAR_WIDTH)
        table.add_column("video", overflow="fold")
        table.add_column("split")
        for rank, each in enumerate(retrieval.neighbours, 1):
            bar = ProgressBar(total=1.0, completed=max(0.0, each.similarity), width=_BAR_WIDTH)
            label = Text(each.label or UNLABELLED, style="" if each.label else "dim")
            table.add_row(str(rank), label, f"{each.similarity:.3f}", bar, Text(each.path), each.split)
        Console().print(table)
