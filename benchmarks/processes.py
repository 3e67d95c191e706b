"""Clips a second of two processes with a thread each against one, training the demo's recipe with gloo.

    python benchmarks/processes.py [--rounds 7] [--steps 4] [--recipe sparsedense+small] [--sync-batchnorm true|false]
                                   [--processes 2] [--batch-size 15] [--store STORE] [--json OUT]
    python benchmarks/processes.py --rounds 1 --steps 1                 # to try it

The ways take turns within each round: one process does some steps alone; then on one process's share of the batch
alone, which has all that a step costs whatever its batch; then all do as many of their own beside each other, each like
the first, which is what the machine can do at best; then they do as many together on the same global batches, each on
its share, with DDP. The figure is the median of the rounds' ratios. Precision, memory layout, optimiser, synchronised
BatchNorm and loader workers are those that training would take. Reading and augmentation are part of a step. With two
processes it must be 1.7 on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
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
from sparsedense.training.machine import (
    available_cores,
    prepare_process,
    resolve_channels_last,
    resolve_precision,
    resolve_sync_batchnorm,
    resolve_workers,
)
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import num_speeds
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.strategy import ddp_options
from sparsedense.training.sync_batchnorm import CpuSyncBatchNormPlugin

LEAST_RATIO = 1.7


class Step(nn.Module):
    """A training step as the forward pass that DDP wraps."""

    def __init__(self, module: SparseDenseModule) -> None:
        super().__init__()
        self.module = module
        self.in_bfloat16 = "bf16" in resolve_precision(module.experiment.machine)

    def forward(self, batch: Any) -> Tensor:
        """The loss; not the first of an epoch, which measures gradients besides."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
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
        last = resolve_channels_last(experiment.machine, experiment.model)
        self.module = SparseDenseModule(model, experiment, plan, channels_last=last).train()
        if last:
            self.module.to(memory_format=torch.channels_last_3d)
        self.module._log_epoch = lambda values, batch_size: None  # type: ignore[method-assign]
        self.synchronised = world_size > 1 and resolve_sync_batchnorm(experiment.machine)
        if self.synchronised:
            CpuSyncBatchNormPlugin().apply(self.module)
        made: Any = self.module.configure_optimizers()
        self.optimiser = made["optimizer"]
        self._batches = batches(store, experiment, rank, world_size)

    def distributed(self) -> nn.Module:
        """The step, with the means of all processes' gradients."""
        return DistributedDataParallel(Step(self.module), **ddp_options(self.module.experiment.machine, self.module))

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
    return iter(training_loader(dataset, sampler, batch_size=share, num_workers=resolve_workers(experiment.machine)))


def take_turns(
    rank: int,
    count: int,
    store: str,
    experiment: Experiment,
    rounds: int,
    steps: int,
    meeting: str,
    turn: Any,
    told: Any,
) -> None:
    """What each of the processes does; it tells the seconds of each round, by way."""
    prepare_process(experiment.machine)
    opened = FrameStore(store)
    alone = Training(opened, experiment, rank=0, world_size=1)
    together = Training(opened, experiment, rank=rank, world_size=count)
    of_share = replace(experiment.pretrain, batch_size=batch_share(experiment.pretrain.batch_size, count))
    share = Training(opened, replace(experiment, pretrain=of_share), rank=0, world_size=1)
    own, of_own_share = Step(alone.module), Step(share.module)
    for number in range(-1, rounds):  # the first round only warms up
        turn.wait()
        seconds = {"alone": alone.run(own, steps) if rank == 0 else 0.0}
        turn.wait()
        seconds["share alone"] = share.run(of_own_share, steps) if rank == 0 else 0.0
        turn.wait()
        seconds["side by side"] = alone.run(own, steps)
        turn.wait()
        distributed.init_process_group("gloo", init_method=f"file://{meeting}{number}", rank=rank, world_size=count)
        step = together.distributed()
        together.run(step, 1)  # the first step of DDP sorts its buckets
        distributed.barrier()
        seconds["together"] = together.run(step, steps)
        distributed.destroy_process_group()
        if number >= 0:
            told.put((number, seconds))


def measure(
    store: Path, experiment: Experiment, count: int, rounds: int, steps: int, folder: str
) -> list[dict[str, float]]:
    """Clips a second of each round, by way."""
    context = multiprocessing.get_context("spawn")
    turn, told = context.Barrier(count), context.Queue()
    given = (count, str(store), experiment, rounds, steps, f"{folder}/meeting", turn, told)
    processes = [context.Process(target=take_turns, args=(rank, *given)) for rank in range(count)]
    for process in processes:
        process.start()
    answers = [told.get(timeout=600) for _ in range(rounds * count)]
    for process in processes:
        process.join()
    batch = experiment.pretrain.batch_size
    share = batch_share(batch, count)
    videos = {"alone": batch, "share alone": share, "side by side": count * batch, "together": batch}
    return [
        {way: 2 * videos[way] * steps / max(seconds[way] for seconds in of_round) for way in videos}
        for number in range(rounds)
        if (of_round := [seconds for of_number, seconds in answers if of_number == number])
    ]


def main() -> int:
    """Measure, print, and return 1 where the ratio is below what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch-size", type=int, help="videos of the global batch, in place of the recipe's")
    parser.add_argument("--recipe", default="sparsedense+small")
    parser.add_argument("--sync-batchnorm", choices=["auto", "true", "false"], default="auto")
    parser.add_argument("--store", type=Path, help="a store of one's own; a small one is made if not given")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    changes = {} if arguments.batch_size is None else {"pretrain": {"batch_size": arguments.batch_size}}
    experiment = load_experiment(arguments.recipe, **changes)
    synchronised: Any = {"auto": "auto", "true": True, "false": False}[arguments.sync_batchnorm]
    machine = replace(
        experiment.machine, accelerator="cpu", devices=arguments.processes, threads=1, sync_batchnorm=synchronised
    )
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "store"
        if arguments.store is None:
            film(Path(folder) / "videos", videos=24, frames=64, height=64, width=80)
            prepare(Path(folder) / "videos", path, short_side=48, workers=0, test_fraction=0, val_fraction=0)
        made = replace(experiment, machine=machine)
        rounds = measure(path, made, arguments.processes, arguments.rounds, arguments.steps, folder)
    result: dict[str, Any] = {
        "recipe": arguments.recipe,
        "processes": arguments.processes,
        "cores": available_cores(),
        "rounds": rounds,
    }
    for way in rounds[0]:
        result[f"clips_per_second {way}"] = median(measured[way] for measured in rounds)
    for way in ("share alone", "side by side", "together"):
        result[f"ratio {way}"] = median(measured[way] / measured["alone"] for measured in rounds)
    print(json.dumps({name: value for name, value in result.items() if name != "rounds"}))
    ratio = result["ratio together"]
    print(f"ratio {ratio:.2f}, must be {LEAST_RATIO}: {'met' if ratio >= LEAST_RATIO else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
