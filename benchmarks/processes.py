"""Clips a second of two processes with a thread each against one, training the demo's recipe with gloo.

    python benchmarks/processes.py [--rounds 7] [--steps 4] [--recipe sparsedense+small] [--store STORE] [--json OUT]
    python benchmarks/processes.py --rounds 1 --steps 1                 # to try it

The two take turns within each round: first one process does some steps alone, then both do as many on the same global
batches, each on its half, with synchronised BatchNorm and DDP; the figure is the median of the rounds' ratios. Reading
and augmentation are part of a step; each process has the recipe's number of loader workers. Must be 1.7 on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from footage import film
from sparsedense.config import Experiment, load_experiment
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training.clip_streams import batch_share
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import num_speeds
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.sync_batchnorm import CpuSyncBatchNormPlugin

LEAST_RATIO = 1.7


class Step(nn.Module):
    """A training step as the forward pass that DDP wraps."""

    def __init__(self, module: SparseDenseModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any) -> Tensor:
        """The loss; not the first of an epoch, which measures gradients besides."""
        return self.module.training_step(batch, 1)


class Training:
    """One process's part of a training, some steps at a time."""

    def __init__(self, store: FrameStore, experiment: Experiment, *, rank: int, world_size: int) -> None:
        torch.manual_seed(0)
        objective, clips = experiment.objective, experiment.clips
        model = build_recogniser(
            experiment.model,
            clips=asdict(clips),
            speed_head=objective.speed.weight > 0,
            num_speeds=num_speeds(objective, clips),
        )
        plan = TrainingPlan(Phase.PRETRAIN, experiment.pretrain, experiment.objective)
        self.module = SparseDenseModule(model, experiment, plan).train()
        self.module._log_epoch = lambda values, batch_size: None  # type: ignore[method-assign]
        if world_size > 1:
            CpuSyncBatchNormPlugin().apply(self.module)
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=1e-3)
        self._batches = batches(store, experiment, rank, world_size)

    def run(self, step: nn.Module, steps: int) -> float:
        """Seconds that some steps take."""
        started = time.perf_counter()
        for _ in range(steps):
            loss = step(next(self._batches))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.module.on_train_batch_end()
        return time.perf_counter() - started


def batches(store: FrameStore, experiment: Experiment, rank: int, world_size: int) -> Iterator[Any]:
    """Batches without end, of a process's share of the draws."""
    videos = store.videos(min_frames=experiment.clips.min_frames)
    dataset = TrainingClips(store, experiment.clips, experiment.augment, seed=0)
    batch_size = experiment.pretrain.batch_size
    sampler = DrawSampler(videos, draws_per_epoch=10**6 * batch_size, seed=0, rank=rank, world_size=world_size)
    share = batch_share(batch_size, world_size)
    return iter(training_loader(dataset, sampler, batch_size=share, num_workers=experiment.machine.num_workers))


def take_turns(rank: int, store: str, recipe: str, rounds: int, steps: int, meeting: str, turn: Any, told: Any) -> None:
    """What each of the two processes does; the first tells the seconds of each round, alone and together."""
    torch.set_num_threads(1)
    experiment, opened = load_experiment(recipe), FrameStore(store)
    alone = Training(opened, experiment, rank=0, world_size=1) if rank == 0 else None
    together = Training(opened, experiment, rank=rank, world_size=2)
    for number in range(-1, rounds):  # the first round only warms up
        seconds_alone = 0.0 if alone is None else alone.run(Step(alone.module), steps)
        turn.wait()
        distributed.init_process_group("gloo", init_method=f"file://{meeting}{number}", rank=rank, world_size=2)
        step = DistributedDataParallel(Step(together.module), gradient_as_bucket_view=True)
        together.run(step, 1)  # the first step of DDP sorts its buckets
        distributed.barrier()
        seconds_together = together.run(step, steps)
        distributed.destroy_process_group()
        turn.wait()
        if rank == 0 and number >= 0:
            told.put((seconds_alone, seconds_together))


def main() -> int:
    """Measure, print, and return 1 where the ratio is below what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--recipe", default="sparsedense+small")
    parser.add_argument("--store", type=Path, help="a store of one's own; a small one is made if not given")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    turn, told = context.Barrier(2), context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "store"
        if arguments.store is None:
            film(Path(folder) / "videos", videos=24, frames=64, height=64, width=80)
            prepare(Path(folder) / "videos", path, short_side=48, workers=0, test_fraction=0, val_fraction=0)
        given = (str(path), arguments.recipe, arguments.rounds, arguments.steps, f"{folder}/meeting", turn, told)
        processes = [context.Process(target=take_turns, args=(rank, *given)) for rank in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            return 2
        seconds = [told.get() for _ in range(arguments.rounds)]
    clips = 2 * load_experiment(arguments.recipe).pretrain.batch_size * arguments.steps
    ratio = median(alone / together for alone, together in seconds)
    result = {
        "recipe": arguments.recipe,
        "clips_per_second_alone": median(clips / alone for alone, _ in seconds),
        "clips_per_second_together": median(clips / together for _, together in seconds),
        "ratio": ratio,
        "rounds": seconds,
    }
    print(f"{result['clips_per_second_alone']:.1f} clips/s alone, {result['clips_per_second_together']:.1f} together")
    print(f"ratio {ratio:.2f}, must be {LEAST_RATIO}: {'met' if ratio >= LEAST_RATIO else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
