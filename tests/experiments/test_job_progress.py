import io

import pytest
from rich.console import Console

from sparsedense.experiments.job_progress import TimeLeft, job_bar


def test_the_time_left_goes_by_kind() -> None:
    left = TimeLeft(parallel_runs=1)
    assert left.seconds(["pretrain"]) is None
    left.add("pretrain", 100.0)
    left.add("pretrain", 200.0)
    left.add("finetune", 10.0)
    assert left.seconds(["pretrain", "finetune", "finetune"]) == pytest.approx(170.0)
    assert left.seconds(["probe"]) == pytest.approx(80.0), "a kind of which none is done is taken for the mean job"
    assert left.seconds(["pretrain", "finetune"], [50.0]) == pytest.approx(110.0)
    assert left.seconds(["finetune"], [50.0]) == 0.0
    assert left.seconds([]) == 0.0


def test_parallel_runs_share_the_time_but_not_that_of_the_last() -> None:
    left = TimeLeft(parallel_runs=4)
    left.add("finetune", 60.0)
    assert left.seconds(["finetune"] * 8) == pytest.approx(120.0)
    assert left.seconds(["finetune"]) == pytest.approx(60.0)


def test_every_job_leaves_a_line_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=60)
    with job_bar(5, 2, 1, console) as bar:
        bar.time_left.add("finetune", 7300.0)
        bar.show(["finetune/a", "finetune/b", "finetune/c"], ["finetune"])
        bar.tell("finetune/a-store-3-seed0: accuracy 61.2% (83 s), a line that is longer than the console is wide")
        bar.tell("finetune/b: [red] failed")
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].endswith("than the console is wide")
    assert lines[0].startswith("3/5 finetune/a-store-3-seed0: accuracy 61.2% (83 s)")
    assert lines[1] == "4/5 finetune/b: [red] failed"


def test_the_bar_says_what_runs_and_how_long_still() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with job_bar(5, 2, 1, console) as bar:
        bar.time_left.add("finetune", 7380.0)
        bar.show(["finetune/a", "finetune/b", "finetune/c"], ["finetune"])
    assert isinstance(console.file, io.StringIO)
    assert "finetune/a, finetune/b ...; about 2 h 3 min left" in console.file.getvalue()
