import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from sparsedense.processes import Launch
from sparsedense.training import run_folder
from sparsedense.training.checkpoint_files import STATE, write_checkpoint
from sparsedense.training.run_folder import RunFolderError, look_into_folder, write_json

Start = Callable[..., None]


def enter_folder(folder: Path, *, resume: bool | Literal["auto"], overwrite: bool) -> Path | None:
    entry = look_into_folder(folder, resume=resume, overwrite=overwrite)
    entry.carry_out()
    return entry.checkpoint


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Pretends that a launcher started this process."""

    def pretend(*, job: str | None = "job", restarted: bool = False, rank: int = 0, nodes: int = 2) -> None:
        launch = Launch("torchrun", rank, 2 * nodes, nodes, job, restarted)
        monkeypatch.setattr(run_folder, "current_launch", lambda: launch)
        monkeypatch.setattr(run_folder, "is_main_process", lambda: rank == 0)

    return pretend


def begun(folder: Path, *, job: str | None = None) -> Path:
    """A run that wrote a state."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("")
    write_json(folder / "environment.json", {"job": job})
    return write_checkpoint(folder / "checkpoints", STATE, 3, {"global_step": 3})


def test_a_run_in_the_folder_is_not_begun_again(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(RunFolderError, match="holds a run already"):
        enter_folder(tmp_path, resume=False, overwrite=False)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    state = begun(tmp_path)
    draft = state.parent / f".{STATE}-000000004.1.partial"
    draft.touch()
    entry = look_into_folder(tmp_path, resume=False, overwrite=True)
    assert state.exists()
    assert draft.exists()
    look_into_folder(tmp_path / "new", resume=False, overwrite=False)
    assert not (tmp_path / "new").exists()
    entry.carry_out()
    assert not state.exists()
    assert not draft.exists()


def test_auto_goes_on_where_there_is_a_state_and_else_begins(tmp_path: Path) -> None:
    assert enter_folder(tmp_path / "new", resume="auto", overwrite=False) is None
    state = begun(tmp_path / "old")
    assert enter_folder(tmp_path / "old", resume="auto", overwrite=False) == state


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_started_again_goes_on(tmp_path: Path, start: Start, rank: int, overwrite: bool) -> None:
    state = begun(tmp_path, job="job")
    start(rank=rank, restarted=True)
    assert enter_folder(tmp_path, resume=False, overwrite=overwrite) == state
    assert state.is_file()


def test_what_broke_off_before_its_first_state_begins_anew(tmp_path: Path, start: Start) -> None:
    begun(tmp_path, job="job").unlink()
    start(restarted=True)
    assert enter_folder(tmp_path, resume=False, overwrite=False) is None
    assert not (tmp_path / "metrics.jsonl").exists()


def test_what_was_refused_is_refused_again_when_torchrun_tries_once_more(tmp_path: Path, start: Start) -> None:
    state = begun(tmp_path, job="other")
    for restarted in (False, True):
        start(restarted=restarted, nodes=1)
        with pytest.raises(RunFolderError, match="holds a run already"):
            enter_folder(tmp_path, resume=False, overwrite=False)
    assert state.exists()


def test_without_a_name_what_is_started_again_goes_on_and_deletes_nothing(tmp_path: Path, start: Start) -> None:
    state = begun(tmp_path)
    start(job=None, restarted=True)
    assert enter_folder(tmp_path, resume=False, overwrite=False) == state
    state.unlink()
    with pytest.raises(RunFolderError, match="holds a run already"):
        enter_folder(tmp_path, resume=False, overwrite=False)
    assert (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_machine_where_nothing_failed_knows_the_run_by_its_job(tmp_path: Path, start: Start, rank: int) -> None:
    state = begun(tmp_path, job="job")
    start(rank=rank)
    assert enter_folder(tmp_path, resume=False, overwrite=True) == state


def test_the_run_of_another_job_is_another_run(tmp_path: Path, start: Start) -> None:
    state = begun(tmp_path, job="other")
    start()
    with pytest.raises(RunFolderError, match="holds a run already"):
        enter_folder(tmp_path, resume=False, overwrite=False)
    assert enter_folder(tmp_path, resume=False, overwrite=True) is None
    assert not state.exists()


def test_only_the_main_process_changes_the_folder(tmp_path: Path, start: Start) -> None:
    state = begun(tmp_path, job="other")
    start(rank=1)
    assert enter_folder(tmp_path, resume=False, overwrite=True) is None
    assert state.exists()
    assert enter_folder(tmp_path / "new", resume=False, overwrite=False) is None
    assert not (tmp_path / "new").exists()


def test_overwriting_on_several_machines_needs_the_name_of_the_job(tmp_path: Path, start: Start) -> None:
    state = begun(tmp_path)
    start(job=None)
    with pytest.raises(RunFolderError, match="--rdzv-id"):
        enter_folder(tmp_path, resume=False, overwrite=True)
    assert state.exists()
    start(job=None, nodes=1)
    assert enter_folder(tmp_path, resume=False, overwrite=True) is None


def test_json_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
