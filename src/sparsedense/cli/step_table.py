"""The tables of `sparsedense bench train` and `sparsedense tune`."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sparsedense.training.step_timing import StepComparison, StepTiming
from sparsedense.training.tuning import Trial


def print_step(comparison: StepComparison) -> None:
    """Seconds of each part for each way, then rates, memory and ratios."""
    timings = {"ours": comparison.ours, **comparison.others}
    about = comparison.ours.about
    title = f"a step of {about['clips_per_step']} clips on {about['device']}, {about['threads']} threads; ms"
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    for name in timings:
        table.add_column(name, justify="right")
    for part in dict.fromkeys(part for timing in timings.values() for part in timing.parts):
        shown = [f"{timing.parts[part] * 1e3:,.1f}" if part in timing.parts else "" for timing in timings.values()]
        table.add_row(part, *shown)
    table.add_section()
    for name, values in _figures(list(timings.values())).items():
        table.add_row(name, *values)
    if comparison.ratios:
        ratios = [f"{comparison.ratios[name]:.2f} x" if name in comparison.ratios else "" for name in timings]
        table.add_row("time against ours", *ratios)
    Console().print(table)


def _figures(timings: Sequence[StepTiming]) -> dict[str, list[str]]:
    return {
        "step": [f"{timing.seconds * 1e3:,.1f}" for timing in timings],
        "clips/s": [f"{timing.clips_per_second:,.2f}" for timing in timings],
        "data wait": [f"{timing.data_wait_share:.1%}" for timing in timings],
        "losses": [f"{timing.loss_share:.1%}" for timing in timings],
        "GFLOP a step": [f"{timing.flop_per_step / 1e9:,.1f}" for timing in timings],
        "GFLOP/s": [f"{timing.flop_per_second / 1e9:,.1f}" for timing in timings],
        "GFLOP/s of a matrix product": [f"{timing.ceiling_flop_per_second / 1e9:,.1f}" for timing in timings],
        "share of that (MFU)": [f"{timing.utilisation:.1%}" for timing in timings],
        "peak memory": [f"{timing.peak_memory_bytes / 1e6:,.0f} MB" for timing in timings],
        "precision": [str(timing.about["precision"]) for timing in timings],
        "channels last": ["yes" if timing.about["channels_last"] else "no" for timing in timings],
    }


def print_trials(trials: Sequence[Trial]) -> None:
    """What was tried, the fastest first."""
    table = Table(title="what was tried", title_justify="left")
    for name in ("clips/s", "settings", "remark"):
        table.add_column(name, justify="right" if name == "clips/s" else "left")
    for trial in sorted(trials, key=lambda trial: -trial.clips_per_second):
        rate = f"{trial.clips_per_second:,.2f}" if trial.clips_per_second else "-"
        table.add_row(rate, trial.describe(), trial.failure or "")
    Console().print(table)
