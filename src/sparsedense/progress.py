"""Progress bars of long work in a terminal: how much is done, how fast, how long still."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[[int, int], None]


@contextmanager
def progress_bar(title: str, *, note: Callable[[], str] = str, console: Console | None = None) -> Iterator[Advance]:
    """Show a bar while the block runs.

    Args:
        title: what is being done.
        note: text behind the bar, asked for at every step: rates, rejects.
        console: where to draw; the terminal's error stream if not given, so that output can be piped.

    Yields:
        A function to call with how many are done and how many there are.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")]
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console or Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, note="")

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=note())

        yield advance
