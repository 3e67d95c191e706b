"""What the processes of a distributed training do in the tests: `python -m tests.training.ddp_jobs STORE FOLDER`.

A program of its own, which forks its processes once it has imported everything, because importing takes the longest.
"""

import multiprocessing
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sparsedense.config import Experiment
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader
from sparsedense.data.store import FrameStore
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training.clip_streams import batch_share
from sparsedense.training.gather import gather_each, mean_over_processes, means_over_processes, share_buffers
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import num_speeds
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.strategy import all_parameters_take_part
from sparsedense.training.sync_batchnorm import CpuSyncBatchNormPlugin
from tests.conftest import MOTIONS, tiny_experiment

STEPS = 2
LITTLE = {"speed": {"weight": 0.0}, "consistency": {"weight": 0.0}}
# Settings of the objective, the clips that they need, and the phase.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Phase]] = {
    "alignment across videos": ({"alignment": {"weight": 1.0}}, {"dense_clips": 2}, Phase.PRETRAIN),
    "contrast": ({"contrast": {"weight": 1.0}}, {}, Phase.PRETRAIN),
    "contrast with queue and teacher": (
        {"contrast": {"weight": 1.0, "queue_size": 10, "use_teacher": True}, "teacher_momentum": 0.5},
        {},
        Phase.PRETRAIN,
    ),
    "vicreg": ({"contrast": {"weight": 1.0, "kind": "vicreg"}}, {}, Phase.PRETRAIN),
    "binary speed": ({"speed": {"weight": 1.0}}, {}, Phase.PRETRAIN),
    "n-way speed": (
        {"speed": {"weight": 1.0, "kind": "n_way"}},
        {"other_skip_ratios": [2.0], "dense_clips": 2},
        Phase.PRETRAIN,
    ),
    # Of three clips two may be as fast as each other: the number of pairs differs from process to process.
    "speed ranking": (
        {"speed": {"weight": 1.0, "kind": "ranking"}},
        {"other_skip_ratios": [2.0], "dense_clips": 2},
        Phase.PRETRAIN,
    ),
    "consistency with rgb": ({"consistency": {"weight": 1.0, "kind": "jsd"}}, {}, Phase.PRETRAIN),
    "consistency with a teacher": (
        {"consistency": {"weight": 1.0, "kind": "cosine", "target": "teacher"}, "teacher_momentum": 0.5},
        {"dense_clips": 2},
        Phase.PRETRAIN,
    ),
    "generator": (
        {"generator": {"weight": 1.0}, "teacher_momentum": 0.5},
        {"dense_clips": 2, "skip_ratio": 2.0},
        Phase.PRETRAIN,
    ),
    "tclr": (
        {"alignment": {"weight": 1.0, "across_videos": False, "local_weight": 1.0}, "contrast": {"weight": 1.0}},
        {"dense_clips": 2, "dense_copies": 2},
        Phase.PRETRAIN,
    ),
    # Some of the videos have labels, so that the processes have different numbers of them.
    "classification": ({}, {}, Phase.FINETUNE),
    "classification of several clips a video": ({}, {"dense_clips": 2}, Phase.FINETUNE),
    "speed in bfloat16": ({"speed": {"weight": 1.0}}, {}, Phase.PRETRAIN),
    "classification in bfloat16": ({}, {}, Phase.FINETUNE),
}
IN_BFLOAT16 = {case for case in CASES if case.endswith("in bfloat16")}


def experiment_of(case: str) -> Experiment:
    objective, clips, _ = CASES[case]
    base = asdict(tiny_experiment().clips)
    return tiny_experiment(
        objective=LITTLE | objective, clips=base | clips, augment={"shared_crop": False, "noise": 0.05}
    )


class Step(nn.Module):
    """What DDP wraps: a training step as the forward pass."""

    def __init__(self, module: SparseDenseModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any, index: int) -> Tensor:
        return self.module.training_step(batch, index)


def train_case(case: str, store: FrameStore, rank: int, world_size: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Losses of each step, the means over the processes, and what the steps have changed of all state."""
    experiment, phase = experiment_of(case), CASES[case][2]
    config = getattr(experiment, phase.value)
    torch.manual_seed(0)
    module = SparseDenseModule(_model(experiment, phase), experiment, TrainingPlan(phase, config, experiment.objective))
    # In float32, rounding moves values over the kinks of the ReLUs, and a second step makes much of it.
    module.to(torch.float32 if case in IN_BFLOAT16 else torch.float64)
    if world_size > 1:
        CpuSyncBatchNormPlugin().apply(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    step: nn.Module = Step(module.train())
    if world_size > 1:
        unused = not all_parameters_take_part(module)
        step = DistributedDataParallel(step, find_unused_parameters=unused)
    # Plain and small steps: Adam and large ones make much of the rounding in which the processes differ.
    optimiser = torch.optim.SGD(module.parameters(), lr=5e-4)
    losses = []
    for index, batch in enumerate(_loader(experiment, store, config.batch_size, rank, world_size)):
        with torch.autocast("cpu", torch.bfloat16, enabled=case in IN_BFLOAT16):
            loss = step(batch, index + 1)  # the first of an epoch would measure gradients besides
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.on_train_batch_end()
        losses.append(mean_over_processes(loss.detach()))
    return losses, {name: value.double() - before[name] for name, value in module.state_dict().items()}


def _model(experiment: Experiment, phase: Phase) -> Any:
    objective, clips = experiment.objective, experiment.clips
    classes = tuple(MOTIONS) if phase is Phase.FINETUNE else ()
    return build_recogniser(
        experiment.model,
        classes,
        clips=asdict(clips),
        speed_head=objective.speed.weight > 0,
        num_speeds=num_speeds(objective, clips),
    )


def _loader(experiment: Experiment, store: FrameStore, batch_size: int, rank: int, world_size: int) -> Any:
    videos = store.videos(split=["train", "unlabelled"], min_frames=experiment.clips.min_frames)
    dataset = TrainingClips(store, experiment.clips, experiment.augment, seed=0, labelled=videos[:7])
    draws = STEPS * batch_size
    sampler = DrawSampler(videos, draws_per_epoch=draws, seed=0, rank=rank, world_size=world_size)
    return training_loader(dataset, sampler, batch_size=batch_share(batch_size, world_size), num_workers=0)


def tell_each_other(rank: int, world_size: int) -> dict[str, Tensor]:
    """What each process gets of the others' rows, labels, means and buffers."""
    place = torch.arange(2) * world_size + rank  # of this process's rows in the batch of all
    rows_BC = (torch.stack([place, 10 * place], dim=1).float()).requires_grad_()
    rows, labels = gather_each(rows_BC, place)
    (of_rows,) = torch.autograd.grad((rows * torch.arange(len(rows))[:, None]).sum(), rows_BC)
    means = means_over_processes([torch.full((2,), float(rank)), torch.tensor(3.0 * rank)])
    layer = nn.BatchNorm1d(2)
    layer.running_mean = torch.full((2,), 5.0 + rank)
    share_buffers(layer)
    learns = torch.tensor([rows.requires_grad, labels.requires_grad])
    named = {"rows": rows.detach(), "labels": labels, "of_rows": of_rows, "learns": learns}
    named["running_mean"] = layer.running_mean
    return named | {f"mean {number}": mean for number, mean in enumerate(means)}


def train_all_cases(rank: int, store: str, folder: str) -> None:
    """All cases with 3 processes, then with the first 2 of them, then with the first alone."""
    torch.set_num_threads(1)
    opened = FrameStore(store)
    for world_size in (3, 2, 1):
        if rank >= world_size:
            return
        if world_size > 1:
            meeting = f"file://{folder}/meeting-{world_size}"
            distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
        results: dict[str, Any] = {case: train_case(case, opened, rank, world_size) for case in CASES}
        results["messages"] = tell_each_other(rank, world_size)
        torch.save(results, Path(folder) / f"{world_size}-{rank}.pt")
        if world_size > 1:
            distributed.destroy_process_group()


def main(store: str, folder: str) -> int:
    """Train all cases; returns the number of processes that failed."""
    warnings.filterwarnings("ignore", message="You are trying to `self.log")
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=train_all_cases, args=(rank, store, folder)) for rank in (1, 2)]
    for process in others:
        process.start()
    train_all_cases(0, store, folder)
    for process in others:
        process.join(timeout=60)
    return sum(process.exitcode != 0 for process in others)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
