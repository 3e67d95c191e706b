import os

import pytest

from sparsedense.processes import Launch, current_launch, is_main_process, leave_launch

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "7", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1",
    "TORCHELASTIC_RESTART_COUNT": "0",
}  # fmt: skip
SRUN = {"SLURM_NTASKS": "6", "SLURM_PROCID": "0", "SLURM_NNODES": "3", "SLURM_JOB_NAME": "job", "SLURM_JOB_ID": "9"}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in TORCHRUN or name == "NODE_RANK":
            monkeypatch.delenv(name)


def setenv(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_alone_there_is_no_launch() -> None:
    assert current_launch() is None
    assert is_main_process()


@pytest.mark.parametrize(("restarts", "restarted"), [("0", False), ("2", True)])
def test_torchrun_tells_the_place(monkeypatch: pytest.MonkeyPatch, restarts: str, restarted: bool) -> None:
    setenv(monkeypatch, TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": restarts})
    assert current_launch() == Launch("torchrun", 3, 4, 2, "torchrun 7", restarted)
    assert not is_main_process()


@pytest.mark.parametrize(("restarts", "restarted"), [({}, False), ({"SLURM_RESTART_COUNT": "1"}, True)])
def test_srun_tells_the_place(monkeypatch: pytest.MonkeyPatch, restarts: dict[str, str], restarted: bool) -> None:
    setenv(monkeypatch, SRUN | restarts)
    launch = current_launch()
    assert launch == Launch("srun", 0, 6, 3, "SLURM 9", restarted)
    assert launch.per_node == 2
    assert is_main_process()


def test_a_torchrun_without_a_name_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, TORCHRUN | {"TORCHELASTIC_RUN_ID": "none"})
    launch = current_launch()
    assert launch is not None
    assert launch.job is None


def test_torchrun_within_a_slurm_job_is_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, TORCHRUN | SRUN)
    launch = current_launch()
    assert launch is not None
    assert launch.launcher == "torchrun"


def test_a_shell_of_slurm_starts_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, SRUN | {"SLURM_JOB_NAME": "bash"})
    assert current_launch() is None


@pytest.mark.parametrize("place", [{"LOCAL_RANK": "1"}, {"LOCAL_RANK": "0", "NODE_RANK": "1"}])
def test_lightnings_further_processes_are_not_the_main_one(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, str]
) -> None:
    setenv(monkeypatch, place)
    assert not is_main_process()
    setenv(monkeypatch, dict.fromkeys(place, "0"))
    assert is_main_process()


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_a_launch_can_be_left(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    setenv(monkeypatch, variables)
    leave_launch()
    assert current_launch() is None
    assert is_main_process()
