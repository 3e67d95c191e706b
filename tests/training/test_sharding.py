"""Fully sharded training by two processes on a CPU, through torchrun, as a user starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sparsedense.config import Experiment, MachineConfig, save_experiment
from sparsedense.models.model_file import load_model
from sparsedense.training.checkpoint_files import STATE, list_checkpoints, read_checkpoint
from sparsedense.training.run import pretrain
from sparsedense.training.sharding import is_sharded, whole_state
from tests.conftest import tiny_experiment

EPOCHS = 2


def experiment(**machine: Any) -> Experiment:
    """All that keeps a copy of weights: a teacher of the encoder, one of a head, a queue."""
    return tiny_experiment(
        objective={
            "speed": {"weight": 0.5, "kind": "ranking"},
            "consistency": {"weight": 0.0},
            "alignment": {"weight": 1.0},
            "contrast": {"weight": 1.0, "queue_size": 12, "use_teacher": True},
            "teacher_momentum": 0.5,
        },
        pretrain={"epochs": EPOCHS, "steps_per_epoch": 2, "learning_rate": 1e-4, "gradient_clip": 1.0},
        machine={"devices": "auto", "checkpoints_kept": 9, "checkpoint_steps": 1, **machine},
    )


def train_by_two(store: Path, out: Path, made: Experiment, *flags: str) -> None:
    settings = out.parent / f"{out.name}.yaml"
    save_experiment(made, settings)
    by_two("-m", "sparsedense", "pretrain", str(store), "--recipe", str(settings), "--out", str(out), *flags)


def by_two(*command: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *command], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]


def moved(run: Path, start: dict[str, Tensor]) -> Tensor:
    weights = load_file(run / "model.safetensors")
    names = [name for name in start if "running_" not in name and "num_batches" not in name]
    return torch.cat([(weights[name] - start[name]).flatten().double() for name in names])


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(squares_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`alone` by one process, `sharded` by two, `resumed` of a state of the latter by two, `back` of it by one."""
    folder = tmp_path_factory.mktemp("sharding")
    pretrain(squares_path, folder / "alone", experiment(devices=1), progress=False)
    train_by_two(squares_path, folder / "sharded", experiment(strategy="fsdp"))
    (state,) = [path for step, path in list_checkpoints(folder / "sharded/checkpoints", STATE) if step == 3]
    for name in ("resumed", "back"):
        (folder / name / "checkpoints").mkdir(parents=True)
        (folder / name / "checkpoints" / state.name).write_bytes(state.read_bytes())
        (folder / name / "metrics.jsonl").write_bytes((folder / "sharded/metrics.jsonl").read_bytes())
    train_by_two(squares_path, folder / "resumed", experiment(strategy="fsdp"), "--resume=true")
    pretrain(squares_path, folder / "back", experiment(devices=1), progress=False, resume=True)
    return folder


def test_shares_of_the_weights_learn_what_the_whole_ones_do(runs: Path) -> None:
    first = read_checkpoint(list_checkpoints(runs / "alone/checkpoints", STATE)[-1].path)["state_dict"]
    start = {name.removeprefix("model."): value for name, value in first.items() if name.startswith("model.")}
    alone, sharded = (moved(runs / name, start) for name in ("alone", "sharded"))
    assert alone.norm() > 0
    # Adam's steps are as long where a gradient is all rounding as elsewhere.
    assert (alone - sharded).norm() < 0.1 * alone.norm()
    for one, other in zip(metrics(runs / "alone"), metrics(runs / "sharded"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert "gradient_contrast" in one
        assert "gradient_contrast" not in other, "a share of the weights has no gradient of one loss"


def test_a_sharded_run_goes_on_bit_by_bit(runs: Path) -> None:
    once, again = (load_file(runs / name / "model.safetensors") for name in ("sharded", "resumed"))
    assert [name for name in once if not torch.equal(once[name], again[name])] == []
    newest = [list_checkpoints(runs / name / "checkpoints", STATE)[0].path for name in ("sharded", "resumed")]
    first, second = (read_checkpoint(path)["optimizer_states"][0]["state"] for path in newest)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key]["exp_avg"], second[key]["exp_avg"]) for key in first)


def test_one_process_goes_on_where_two_shared_the_weights(runs: Path) -> None:
    once, again = (load_file(runs / name / "model.safetensors") for name in ("sharded", "back"))
    for name, value in once.items():
        torch.testing.assert_close(again[name], value, rtol=0.05, atol=1e-3)


def test_the_model_file_is_whole(runs: Path) -> None:
    model = load_model(runs / "sharded/model.safetensors")
    features = model.features(torch.rand(2, 3, 8, 16, 16))
    assert features.shape == (2, model.encoder.feature_dim)
    assert features.isfinite().all()


# A thread of gloo lets the last message's tensors go, and has to wait for the interpreter as long as ours runs.
ENDS_AFTER_A_MESSAGE = """
import sys
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from sparsedense.config import MachineConfig
from sparsedense.training.sharding import shard_head, whole_state
from sparsedense.training.strategy import trainer_options

trainer_options(MachineConfig(accelerator="cpu", precision="32-true", devices=2, strategy="fsdp"), None)
distributed.init_process_group("gloo")
head = torch.nn.Linear(8, 8)
shard_head(head, init_device_mesh("cpu", (2,)))
sys.setswitchinterval(1000)
whole_state(head)
"""


@pytest.mark.parametrize("attempt", range(2))  # without the wait a third to a half of them abort
def test_processes_end_well_right_after_their_last_message(attempt: int, tmp_path: Path) -> None:
    script = tmp_path / f"script_{attempt}.py"
    script.write_text(ENDS_AFTER_A_MESSAGE)
    by_two(str(script))


def test_what_is_not_sharded_is_whole_already() -> None:
    layer = nn.Linear(2, 3)
    assert not is_sharded(layer)
    assert all(torch.equal(value, layer.state_dict()[name]) for name, value in whole_state(layer).items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sync_batchnorm": False}, r"machine\.sync_batchnorm true"),
        ({"compile": "default"}, r"machine\.compile no, got default"),
        ({"precision": "16-mixed"}, r"machine\.precision 16-mixed"),
    ],
)
def test_what_does_not_go_with_it_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MachineConfig(strategy="fsdp", **settings)


# As a fine-tuning, which trains no speed head, and the curriculum, which trains its classifier later than the rest.
GOES_ON_BEFORE_ALL_IS_TRAINED = """
import sys
import torch
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from sparsedense.config import MachineConfig
from sparsedense.training.checkpoints import DurableCheckpoints
from sparsedense.training.sharding import ShardedStrategy, shard_head
from sparsedense.training.strategy import trainer_options

trainer_options(MachineConfig(accelerator="cpu", precision="32-true", devices=2, strategy="fsdp"), None)
distributed.init_process_group("gloo")
ShardedStrategy.is_global_zero = distributed.get_rank() == 0


def made():
    torch.manual_seed(0)
    model = nn.ModuleDict({"idle": nn.Linear(8, 8), "trained": nn.Linear(8, 8)})
    for head in model.values():
        shard_head(head, init_device_mesh("cpu", (2,)))
    strategy = ShardedStrategy(2)
    strategy.model, strategy.checkpoint_io = model, DurableCheckpoints()
    strategy.optimizers = [torch.optim.AdamW(model.parameters())]
    return strategy


def step(strategy, *names):
    for number, name in enumerate(names):
        strategy.model[name](torch.arange(8.0).view(1, 8) + number).square().sum().backward()
    strategy.optimizers[0].step()
    strategy.optimizers[0].zero_grad()


once = made()
step(once, "trained")
options = StateDictOptions(full_state_dict=True, cpu_offload=True)
states = {"state_dict": get_model_state_dict(once.model, options=options)}
states["optimizer_states"] = [once.optimizer_state(once.optimizers[0])]
if distributed.get_rank() == 0:
    torch.save(states, sys.argv[1])
distributed.barrier()
again = made()
again.load_checkpoint(sys.argv[1])
for strategy in (once, again):
    step(strategy, "idle", "trained")
for one, other in zip(once.model.parameters(), again.model.parameters(), strict=True):
    assert torch.equal(one.to_local(), other.to_local())
"""


def test_goes_on_where_some_weights_have_not_been_trained_yet(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(GOES_ON_BEFORE_ALL_IS_TRAINED)
    by_two(str(script), str(tmp_path / "state.ckpt"))
