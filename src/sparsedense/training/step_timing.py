"""How fast a recipe trains on this machine, beside other ways to do the same step.

Each way runs in a process of its own, so that memory and threads are its own too; the processes take turns, one step
each, so that what else the machine does disturbs all alike. Ratios are medians over the rounds.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from sparsedense.config import Experiment
from sparsedense.training.measured_step import MeasuredStep, Variant, is_loss_part

_WARM_UP_STEPS = 2  # after the one that counts operations: kernels choose their ways, memory is fetched


@dataclass(frozen=True, kw_only=True)
class StepTiming:
    """One way's measured step; all seconds are medians over the rounds.

    Attributes:
        about: what was measured: variant, device, precision, layout, threads, clips a step, parameters.
        rounds: seconds of each measured step.
        parts: seconds of each part.
        clips_per_second: clips through the network, sparse and dense ones.
        data_wait_share: waiting for the loader, as a share of the step.
        loss_share: the losses with their backward passes, as a share of the step.
        flop_per_step: of its products and convolutions.
        flop_per_second: that over the step's seconds.
        ceiling_flop_per_second: of a large matrix product on the same device in the same precision, the highest that
            any of the ways with that precision found.
        peak_memory_bytes: the most that the device, or the process on a CPU, had in use.
    """

    about: dict[str, Any]
    rounds: list[float]
    parts: dict[str, float]
    clips_per_second: float
    data_wait_share: float
    loss_share: float
    flop_per_step: int
    flop_per_second: float
    ceiling_flop_per_second: float
    peak_memory_bytes: int

    @property
    def seconds(self) -> float:
        """Of a step."""
        return median(self.rounds)

    @property
    def utilisation(self) -> float:
        """Model FLOP utilisation (MFU): share of the ceiling."""
        return self.flop_per_second / self.ceiling_flop_per_second


@dataclass(frozen=True)
class StepComparison:
    """Ours, and how many times as long the other ways take, in medians over the rounds."""

    ours: StepTiming
    others: dict[str, StepTiming] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "ours": _document(self.ours),
            "others": {name: _document(timing) for name, timing in self.others.items()},
            "ratios": self.ratios,
        }


def time_step(
    experiment: Experiment,
    *,
    store: Path | None = None,
    against: Sequence[Variant] = (),
    rounds: int = 10,
    patience_seconds: float | None = None,
) -> StepComparison:
    """Measure a recipe's pretraining step.

    Args:
        experiment: the recipe.
        store: where the clips come from; synthetic ones if None, for which the data wait is 0.
        against: ways to compare with, "plain" and "reference".
        rounds: steps that each number is the median of.
        patience_seconds: longest wait for one step, or for the start with its first steps.

    Raises:
        ValueError: fewer than one round, or a recipe or store that a way cannot do; the message says which.
        TimeoutError: something took longer than the patience.
        RuntimeError: a step failed, for want of memory perhaps.
    """
    if rounds < 1:
        raise ValueError(f"rounds ({rounds}) must be at least 1")
    names: list[Variant] = ["ours", *dict.fromkeys(against)]
    with _processes(experiment, names, store, patience_seconds) as connections:
        steps: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                steps[name].append(_ask(connections[name], "run", patience_seconds))
        found: dict[str, StepTiming] = {name: _summary(connections[name], steps[name]) for name in names}
    timings = _with_shared_ceilings(found)
    ours = timings.pop("ours")
    ratios = {
        name: median(theirs / own for theirs, own in zip(timing.rounds, ours.rounds, strict=True))
        for name, timing in timings.items()
    }
    return StepComparison(ours, timings, ratios)


@contextmanager
def _processes(
    experiment: Experiment, names: Sequence[Variant], store: Path | None, patience_seconds: float | None
) -> Iterator[dict[str, Connection]]:
    """A process for each way, warmed up one after the other; they end with the block."""
    context = multiprocessing.get_context("spawn")
    connections: dict[str, Connection] = {}
    workers = []
    try:
        for name in names:
            ours, theirs = context.Pipe()
            worker = context.Process(target=serve_steps, args=(theirs, experiment, name, store))
            worker.start()
            theirs.close()
            workers.append(worker)
            connections[name] = ours
            _ask(ours, "warm up", patience_seconds)
        yield connections
    finally:
        for connection in connections.values():
            connection.close()
        for worker in workers:
            worker.join(timeout=1)
            if worker.is_alive():  # in the middle of a step that nobody waits for
                worker.kill()
                worker.join()


def serve_steps(connection: Connection, experiment: Experiment, variant: Variant, store: Path | None) -> None:
    """Answer requests of another process until it hangs up: `warm up`, `run` and `summary`."""
    step: MeasuredStep | None = None
    flop = 0
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            step = step or MeasuredStep(experiment, variant, store)
            if request == "warm up":
                flop = step.flop()
                answer: Any = [step.run() for _ in range(_WARM_UP_STEPS)]
            elif request == "run":
                answer = step.run()
            else:
                answer = (step.describe(), flop, step.peak_memory_bytes(), step.ceiling())
        except (ValueError, RuntimeError, MemoryError) as error:  # what a setting brings about; told where it was asked
            connection.send(error)
            return
        try:
            connection.send(answer)
        except BrokenPipeError:  # nobody waits for it any more
            return


def _ask(connection: Connection, request: str, patience_seconds: float | None = None) -> Any:  # noqa: ANN401 - each request has its own answer
    connection.send(request)
    if not connection.poll(patience_seconds):
        raise TimeoutError(f"no answer within {patience_seconds:.0f} s")
    try:
        answer = connection.recv()
    except EOFError:
        raise RuntimeError("the measured process ended; the system may have stopped it for want of memory") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _summary(connection: Connection, steps: list[dict[str, float]]) -> StepTiming:
    about, flop, memory, ceiling = _ask(connection, "summary")
    rounds = [sum(parts.values()) for parts in steps]
    names = list(dict.fromkeys(name for parts in steps for name in parts))
    return StepTiming(
        about=about,
        rounds=rounds,
        parts={name: median(parts.get(name, 0.0) for parts in steps) for name in names},
        clips_per_second=about["clips_per_step"] / median(rounds),
        data_wait_share=median(parts["data wait"] / total for parts, total in zip(steps, rounds, strict=True)),
        loss_share=median(
            sum(seconds for name, seconds in parts.items() if is_loss_part(name)) / total
            for parts, total in zip(steps, rounds, strict=True)
        ),
        flop_per_step=flop,
        flop_per_second=flop / median(rounds),
        ceiling_flop_per_second=ceiling,
        peak_memory_bytes=memory,
    )


def _with_shared_ceilings(timings: dict[str, StepTiming]) -> dict[str, StepTiming]:
    """One ceiling for each precision: what disturbed its measurement in one way is no property of that way."""
    ceilings: dict[str, float] = {}
    for timing in timings.values():
        precision = timing.about["precision"]
        ceilings[precision] = max(ceilings.get(precision, 0.0), timing.ceiling_flop_per_second)
    return {
        name: replace(timing, ceiling_flop_per_second=ceilings[timing.about["precision"]])
        for name, timing in timings.items()
    }


def _document(timing: StepTiming) -> dict[str, Any]:
    return asdict(timing) | {"seconds": timing.seconds, "utilisation": timing.utilisation}
