"""One training step, timed by its parts: ours, ours without tuning, or the way of the paper's authors."""

import itertools
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sparsedense.config import Experiment
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import ClipBatch, DrawSampler, TrainingClips, training_loader
from sparsedense.data.sampling import random_views
from sparsedense.data.store import FrameStore
from sparsedense.models.batch_norm import BatchNorm
from sparsedense.models.r2plus1d import SpatialConv, TemporalConv
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training.looped_losses import looped_losses
from sparsedense.training.machine import (
    prepare_process,
    resolve_channels_last,
    resolve_precision,
    resolve_workers,
    uses_cuda,
)
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import Maps, num_speeds
from sparsedense.training.outcomes import Contribution, Outcome
from sparsedense.training.plan import Phase, TrainingPlan

Variant = Literal["ours", "plain", "reference"]
VARIANTS: tuple[Variant, ...] = ("ours", "plain", "reference")


class MeasuredStep:
    """Does steps of pretraining, with every loss that has a weight, and says how long each part took.

    `ours` is what `pretrain` does but for Lightning's own work around it. `plain` is the same code in float32, with
    contiguous tensors, three-dimensional convolutions, PyTorch's default optimiser and memory. `reference` is
    `plain` the authors' way: a forward pass for each view, and losses by loops over videos.

    Args:
        experiment: the settings; those of `machine` are `ours`'.
        variant: which way.
        store: where the clips come from; synthetic ones, always the same, if None.

    Raises:
        ValueError: the store has no video that is long enough.
    """

    def __init__(self, experiment: Experiment, variant: Variant = "ours", store: Path | None = None) -> None:
        machine = experiment.machine
        if variant != "ours":
            machine = replace(
                machine,
                precision="32-true",
                channels_last=False,
                compile="no",
                fused_optimiser=False,
                keep_freed_memory=False,
                checkpoint_activations=False,
            )
        self.experiment, self.variant = replace(experiment, machine=machine), variant
        prepare_process(machine)
        self.device = torch.device("cuda" if uses_cuda(machine) else "cpu")
        self.precision = resolve_precision(machine)
        self.channels_last = resolve_channels_last(machine, experiment.model)
        self.batches = _synthetic_batches(experiment) if store is None else _store_batches(experiment, store)
        self.module = self._build()
        self.optimiser = cast(Any, self.module.configure_optimizers())["optimizer"]
        self._parts: dict[str, float] = {}
        self._last = 0.0
        self._watch()

    def run(self) -> dict[str, float]:
        """Do one step; the seconds of each part."""
        self._parts, self._last = {}, self._now()
        batch = next(self.batches)
        self._mark("data wait")
        moved = {name: value.to(self.device, non_blocking=True) for name, value in cast(Any, batch).items()}
        self._mark("transfer")
        self._forward_and_backward(cast(ClipBatch, moved))
        if self.experiment.pretrain.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.experiment.pretrain.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        accumulate = self.experiment.pretrain.accumulate
        self.module.on_train_batch_end(None, None, accumulate - 1)
        self._mark("optimiser")
        return self._parts

    def flop(self) -> int:
        """Floating-point operations of a step's products and convolutions, forward and backward, counted in one."""
        with FlopCounterMode(display=False) as counter, torch.compiler.set_stance("force_eager"):
            self.run()
        return int(counter.get_total_flops())

    def ceiling(self) -> float:
        """FLOP/s of a large matrix product in the step's precision, the best of ten."""
        dtype = torch.bfloat16 if "bf16" in self.precision else torch.float32
        size = 8192 if self.device.type == "cuda" else 1024
        # The product's place is fetched before the clock runs: the ways keep freed memory or do not.
        a, b, product = (torch.rand(size, size, device=self.device, dtype=dtype) for _ in range(3))
        best = math.inf
        for _ in range(10):
            start = self._now()
            torch.mm(a, b, out=product)
            best = min(best, self._now() - start)
        return 2 * size**3 / best

    def peak_memory_bytes(self) -> int:
        """Most memory so far: of the device, or of this process where that is a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024

    def describe(self) -> dict[str, Any]:
        """What was measured, in plain values."""
        return {
            "variant": self.variant,
            "device": str(self.device),
            "precision": self.precision,
            "channels_last": self.channels_last,
            "threads": torch.get_num_threads(),
            "clips_per_step": self.clips_per_step,
            "parameters": sum(value.numel() for value in self.module.model.encoder.parameters()),
        }

    @property
    def clips_per_step(self) -> int:
        """Clips that one step sends through the network."""
        clips = self.experiment.clips
        return self.experiment.pretrain.batch_size * (1 + clips.dense_clips * clips.dense_copies)

    def _build(self) -> SparseDenseModule:
        experiment = self.experiment
        torch.manual_seed(experiment.seed)
        objective = experiment.objective
        # All losses count at once: without a trainer it is always epoch 0, in which the paper's schedule leaves the
        # consistency out, and the reference's loops know of no schedule.
        always = replace(experiment.pretrain, weight_schedule="constant")
        plan = TrainingPlan(Phase.PRETRAIN, always, objective)
        model = build_recogniser(
            experiment.model,
            clips=asdict(experiment.clips),
            speed_head=objective.speed.weight > 0,
            num_speeds=num_speeds(objective, experiment.clips),
        )
        if self.variant != "ours":
            for module in model.modules():
                if isinstance(module, SpatialConv | TemporalConv):
                    module.__class__ = nn.Conv3d  # type: ignore[assignment]
                elif isinstance(module, BatchNorm):
                    module.__class__ = nn.BatchNorm3d  # type: ignore[assignment]
        module = SparseDenseModule(model, experiment, plan, channels_last=self.channels_last)
        if self.channels_last:
            module.to(memory_format=torch.channels_last_3d)
        return module.to(self.device).train()

    def _watch(self) -> None:
        """Read the clock where the module goes from one part to the next."""

        def enters(*_: object) -> None:
            self._mark("augmentation")

        def through_losses() -> str:
            # Where there are two passes through the encoder, the way to the second map leads through the first pass.
            return "backward" if "losses, backward" in self._parts else "losses, backward"

        def leaves(_module: nn.Module, _inputs: object, map_BCKHW: Tensor) -> None:
            self._mark("forward")
            if map_BCKHW.requires_grad:
                map_BCKHW.register_hook(lambda _gradient: self._mark(through_losses()))  # type: ignore[no-untyped-call]

        def ends(name: str) -> Callable[..., None]:
            return lambda *_: self._mark(name)

        self.module.model.encoder.register_forward_pre_hook(enters)
        self.module.model.encoder.register_forward_hook(leaves)
        if self.module.teacher is not None:
            self.module.teacher.register_forward_hook(ends("teacher"))
        for name, objective in self.module.objectives.items():
            objective.register_forward_hook(self._watched(f"loss {name}"))

    def _watched(self, part: str) -> Callable[[nn.Module, object, Contribution], Contribution]:
        """A hook that reads the clock when an objective has made its rows, and again when it has made its loss."""

        def contributes(_objective: nn.Module, _inputs: object, made: Contribution) -> Contribution:
            self._mark(part)

            def outcome(*tensors: Tensor) -> Outcome:
                self._mark("sum and records")
                found = made.outcome(*tensors)
                self._mark(part)
                return found

            return made._replace(outcome=outcome)

        return contributes

    def _forward_and_backward(self, batch: ClipBatch) -> None:
        accumulate = self.experiment.pretrain.accumulate
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled="bf16" in self.precision)
        with autocast, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are trying to `self.log", UserWarning)
            if self.variant == "reference":
                loss = self._reference_loss(batch)
            else:
                # Never the first batch of an epoch, which measures the gradients of each loss besides.
                loss = self.module.training_step(batch, 2 * accumulate - 1)
        self._mark("sum and records")
        torch.autograd.backward(loss / accumulate)
        self._mark("backward")

    def _reference_loss(self, batch: ClipBatch) -> Tensor:
        module, objective = self.module, self.experiment.objective
        clips = module._augmented(batch, with_sparse=True)
        dense, sparse = clips[: len(batch["dense"])], clips[len(batch["dense"]) :]
        # A pass for each view: BatchNorm sees one speed at a time.
        encoder = module.model.encoder
        maps = Maps(encoder(dense), encoder(sparse), batch, module.model.speed_head)
        losses = looped_losses(maps, objective, module.objectives)
        self._mark("losses, forward")
        return torch.stack([objective.weights()[name] * loss for name, loss in losses.items()]).sum()

    def _mark(self, name: str) -> None:
        now = self._now()
        self._parts[name] = self._parts.get(name, 0.0) + now - self._last
        self._last = now

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what runs there is charged to the part that started it
        return time.perf_counter()


def is_loss_part(name: str) -> bool:
    """Whether a part of the step is the losses'."""
    return name.startswith(("loss ", "losses"))


def _store_batches(experiment: Experiment, path: Path) -> Iterator[ClipBatch]:
    store, batch_size = FrameStore(path), experiment.pretrain.batch_size
    videos = store.videos(split=["train", "unlabelled"], min_frames=experiment.clips.min_frames)
    if not len(videos):
        raise ValueError(f"{path}: no training video has the {experiment.clips.min_frames} frames that the clips need")
    dataset = TrainingClips(store, experiment.clips, experiment.augment, seed=experiment.seed)
    endless = DrawSampler(videos, draws_per_epoch=batch_size * 1_000_000, seed=experiment.seed)
    return iter(
        cast(
            Any,
            training_loader(dataset, endless, batch_size=batch_size, num_workers=resolve_workers(experiment.machine)),
        )
    )


def _synthetic_batches(experiment: Experiment) -> Iterator[ClipBatch]:
    return itertools.repeat(synthetic_batch(experiment.clips, experiment.pretrain.batch_size, seed=experiment.seed))


def synthetic_batch(clips: ClipConfig, batch_size: int, *, seed: int = 0) -> ClipBatch:
    """A batch of noise as the loader would give it: uint8, channels last in memory, of videos of 300 frames."""
    rng = np.random.default_rng(seed)
    views = [
        random_views(
            max(300, clips.min_frames),
            clip_length=clips.length,
            skip_ratios=clips.skip_ratios,
            num_places=clips.dense_clips,
            copies=clips.dense_copies,
            rng=rng,
        )
        for _ in range(batch_size)
    ]

    def noise(count: int) -> Tensor:
        shape = (count, clips.length, clips.size, clips.size, 3)
        return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8)).permute(0, 4, 1, 2, 3)

    return ClipBatch(
        dense=noise(sum(len(view.dense) for view in views)),
        sparse=noise(batch_size),
        dense_indices=torch.from_numpy(np.stack([view.dense for view in views])),
        sparse_indices=torch.from_numpy(np.stack([view.sparse for view in views])),
        dense_speed=torch.from_numpy(np.stack([1 + view.ratio_ids for view in views])),
        label=torch.full((batch_size,), -1),
        video_id=torch.arange(batch_size),
        position=torch.arange(batch_size),
    )
