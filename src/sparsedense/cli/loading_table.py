"""The table of `sparsedense bench data`."""

from rich.console import Console
from rich.table import Table

from sparsedense.data.loading_speed import LoadingSpeed


def print_loading(speed: LoadingSpeed) -> None:
    """Rates of the stages, of the limit and of the loader."""
    title = f"{speed.codec}, short side {speed.short_side}; clips of {speed.clip_length} frames, {speed.size} pixels"
    table = Table(title=f"{title}; one core a process, from the page cache", title_justify="left")
    table.add_column("stage")
    table.add_column("clips/s", justify="right")
    table.add_column("share of the limit", justify="right")
    for name, rate in speed.stages.items():
        table.add_row(name, f"{rate:,.0f}", "")
    table.add_section()
    table.add_row(f"limit: {speed.limit_name}", f"{speed.limit:,.0f}", "")
    for workers, rate in speed.loader.items():
        name = "loader in this process" if workers == 0 else f"loader, {workers} worker{'s' * (workers > 1)}"
        table.add_row(name, f"{rate:,.0f}", f"{speed.share_of_limit[workers]:.2f}")
    Console().print(table)
