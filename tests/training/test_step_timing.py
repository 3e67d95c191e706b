import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from sparsedense.training.step_timing import serve_steps, time_step
from tests.conftest import tiny_experiment


class InAThread(threading.Thread):
    """Stands in for a process: starting a real one imports everything once more."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        connection, *others = args
        # A process has its own end of the pipe.
        super().__init__(target=target, args=(Connection(os.dup(connection.fileno())), *others))

    def terminate(self) -> None: ...

    kill = terminate


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    context = type("Context", (), {"Pipe": staticmethod(multiprocessing.Pipe), "Process": InAThread})
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method: context)


@pytest.mark.usefixtures("threads")
def test_ways_take_turns_and_ratios_are_medians(squares_path: Path) -> None:
    compared = time_step(tiny_experiment(), store=squares_path, against=["plain", "reference"], rounds=3)
    ours = compared.ours
    assert list(compared.others) == list(compared.ratios) == ["plain", "reference"]
    for name, other in compared.others.items():
        ratios = [theirs / own for theirs, own in zip(other.rounds, ours.rounds, strict=True)]
        assert compared.ratios[name] == median(ratios)
    assert len(ours.rounds) == 3
    assert ours.clips_per_second == pytest.approx(12 / ours.seconds)
    assert 0 < ours.loss_share < 1
    assert 0 < ours.data_wait_share < 1
    assert ours.utilisation == pytest.approx(ours.flop_per_step / ours.seconds / ours.ceiling_flop_per_second)
    assert compared.to_dict()["others"]["plain"]["about"]["variant"] == "plain"


@pytest.mark.usefixtures("threads")
def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(ValueError, match=r"rounds \(0\)"):
        time_step(tiny_experiment(), rounds=0)
    several = tiny_experiment(clips={"dense_clips": 2, "skip_ratio": 2.0})
    with pytest.raises(ValueError, match="one dense clip a video"):
        time_step(several, against=["reference"], rounds=1)
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        time_step(tiny_experiment(), rounds=1, patience_seconds=0.001)


def test_a_server_ends_when_it_is_hung_up() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = threading.Thread(target=serve_steps, args=(theirs, tiny_experiment(), "ours", None))
    server.start()
    ours.close()
    server.join(timeout=10)
    assert not server.is_alive()
