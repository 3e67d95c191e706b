import pytest

from sparsedense.experiments.stopwatch import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.perf_counter", made)
    return made


def test_stages_are_timed_in_their_order_and_added_up(clock: Clock) -> None:
    watch = Stopwatch()
    for name, seconds in (("prepare", 2.0), ("train", 5.0), ("prepare", 0.5)):
        with watch.stage(name):
            clock.now += seconds
        clock.now += 100  # between the stages
    assert list(watch.seconds.items()) == [("prepare", 2.5), ("train", 5.0)]


def test_a_stage_that_fails_is_timed_too(clock: Clock) -> None:
    watch = Stopwatch()

    def fail() -> None:
        clock.now += 3
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), watch.stage("train"):
        fail()
    assert watch.seconds == {"train": 3.0}
