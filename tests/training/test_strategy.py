import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest
from lightning.pytorch.strategies import DDPStrategy

from sparsedense.config import MachineConfig
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training import strategy
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.sharding import ShardedStrategy
from sparsedense.training.strategy import all_parameters_take_part, ddp_options, trainer_options
from sparsedense.training.sync_batchnorm import CpuSyncBatchNorm, CpuSyncBatchNormPlugin
from tests.conftest import MOTIONS, tiny_experiment

CPU = {"accelerator": "cpu", "precision": "32-true"}


def module(phase: Phase, *, classes: bool, speed_head: bool) -> SparseDenseModule:
    experiment = tiny_experiment()
    names = tuple(MOTIONS) if classes else ()
    model = build_recogniser(experiment.model, names, clips=asdict(experiment.clips), speed_head=speed_head)
    plan = TrainingPlan(phase, getattr(experiment, phase.value), experiment.objective)
    return SparseDenseModule(model, experiment, plan)


@pytest.mark.parametrize(
    ("phase", "made_of", "all_take_part"),
    [
        (Phase.PRETRAIN, {"classes": False, "speed_head": True}, True),
        (Phase.PRETRAIN, {"classes": True, "speed_head": True}, False),
        (Phase.FINETUNE, {"classes": True, "speed_head": False}, True),
        (Phase.FINETUNE, {"classes": True, "speed_head": True}, False),
        (Phase.TRAIN, {"classes": True, "speed_head": True}, False),
    ],
)
def test_heads_that_a_phase_does_not_train_take_no_part(
    phase: Phase, made_of: dict[str, bool], all_take_part: bool
) -> None:
    assert all_parameters_take_part(module(phase, **made_of)) is all_take_part


def options(**settings: Any) -> dict[str, Any]:
    made = module(Phase.PRETRAIN, classes=False, speed_head=True)
    return trainer_options(MachineConfig(**{**CPU, **settings}), made)


def test_one_process_needs_no_strategy() -> None:
    assert options() == {"devices": 1, "num_nodes": 1}


def test_several_processes_train_by_ddp_with_one_batchnorm_where_asked() -> None:
    several = options(devices=2, sync_batchnorm=True)
    assert isinstance(several["strategy"], DDPStrategy)
    assert isinstance(several["plugins"][0], CpuSyncBatchNormPlugin)
    assert several["sync_batchnorm"] is False, "PyTorch's own does not run on a CPU"
    assert options(devices=2)["plugins"] is None, "on a CPU it takes as long as the network"


def test_shares_of_the_weights_have_a_strategy_of_their_own() -> None:
    assert isinstance(options(devices=2, strategy="fsdp")["strategy"], ShardedStrategy)
    assert options(devices=1, strategy="fsdp") == {"devices": 1, "num_nodes": 1}


def test_every_batchnorm_is_replaced_and_keeps_its_state() -> None:
    made = module(Phase.PRETRAIN, classes=False, speed_head=True)
    before = made.state_dict(keep_vars=True)
    CpuSyncBatchNormPlugin().apply(made)
    after = made.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    kinds = {type(layer).__name__ for layer in made.modules() if "BatchNorm" in type(layer).__name__}
    assert kinds == {CpuSyncBatchNorm.__name__}


LEAVES_THE_GROUP = """
import atexit
from torch import distributed
from sparsedense.config import MachineConfig
from sparsedense.training.strategy import trainer_options

atexit.register(lambda: print("in a group:", distributed.is_initialized()))  # runs last
trainer_options(MachineConfig(accelerator="cpu", precision="32-true", devices=2, strategy="fsdp"), None)
distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
"""


def test_processes_leave_their_group_before_the_interpreter_ends() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVES_THE_GROUP], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "in a group: False"


def test_a_cpus_gradients_go_in_one_message_where_the_network_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(Phase.PRETRAIN, classes=False, speed_head=True)
    machine = MachineConfig(accelerator="cpu", precision="32-true", devices=2)
    assert ddp_options(machine, made)["bucket_cap_mb"] == 25
    monkeypatch.setattr(strategy, "uses_cuda", lambda machine: True)
    assert "bucket_cap_mb" not in ddp_options(machine, made), "there the first megabyte goes by itself, early"
