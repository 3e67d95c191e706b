"""The Lightning module of all three trainings: one mixed batch of both views, three losses, weights by epoch.

Shapes: B videos, K temporal positions of the map, C channels, H x W pixels.
"""

from typing import cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from sparsedense.config import Experiment
from sparsedense.data.augment import flip_clips, jitter_colours, random_flips, to_float
from sparsedense.data.loader import ClipBatch
from sparsedense.evaluation.metrics import ClassificationMetrics
from sparsedense.losses.classification import ClassificationLoss
from sparsedense.losses.consistency import ConsistencyLoss
from sparsedense.losses.speed import SpeedLoss, speed_accuracy
from sparsedense.models.encoder import pool
from sparsedense.models.recogniser import Recogniser
from sparsedense.training.plan import TrainingPlan


class SparseDenseModule(LightningModule):
    """Trains a recogniser by speed, consistency and classification, as its plan weighs them.

    Args:
        model: encoder, speed head and, where there is supervision, classifier.
        experiment: the settings.
        plan: loss weights and learning rate by epoch.
        channels_last: memory layout of clips.
    """

    def __init__(
        self, model: Recogniser, experiment: Experiment, plan: TrainingPlan, *, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.model, self.experiment, self.plan = model, experiment, plan
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        objective = experiment.objective
        self.speed_loss = SpeedLoss()
        self.classification_loss = ClassificationLoss()
        self.consistency_loss = ConsistencyLoss(
            objective.consistency_kind,
            rgb_temperature=objective.rgb_temperature,
            latent_temperature=objective.latent_temperature,
        )
        num_classes = len(model.class_names)
        self.validation_metrics = ClassificationMetrics(num_classes) if num_classes else None

    def training_step(self, batch: ClipBatch, _batch_index: int) -> Tensor:
        """Total loss of a batch."""
        weights = self.plan.weights(self.current_epoch)
        sparse, dense = self._augmented(batch, with_sparse=self.plan.needs_pair(self.current_epoch))
        parts: dict[str, Tensor] = {}
        if sparse is None:
            dense_map = self.model.encoder(dense)
        else:
            # One batch for both, so that BatchNorm's statistics cannot tell the views apart.
            maps = self.model.encoder(torch.cat([dense, sparse]))
            dense_map, sparse_map = maps.chunk(2)
            if weights.speed > 0:
                parts["speed"] = self._speed(maps)
            if weights.consistency > 0:
                parts["consistency"] = self._consistency(dense_map, sparse_map, batch)
        if weights.classification > 0:
            parts["classification"] = self._classification(dense_map, batch["label"])
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        batch_size = len(batch["label"])
        self._log_epoch({"loss": total, **{f"loss_{name}": part for name, part in parts.items()}}, batch_size)
        return total

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _batch_index: int) -> None:
        """Collect probabilities of validation clips; the batch holds clips, rows and labels."""
        clips, _rows, labels = batch
        logits = self.model(to_float(clips).contiguous(memory_format=self.memory_format)).float()
        self.log("validation_loss", F.cross_entropy(logits, labels), batch_size=len(labels), sync_dist=True)
        self._metrics().update(logits.softmax(dim=-1), labels)

    def on_validation_epoch_end(self) -> None:
        """Log accuracy, top-5 accuracy and macro-F1 of the epoch."""
        metrics = self._metrics()
        summary = metrics.compute()
        for name in ("accuracy", "accuracy_top5", "f1"):
            self.log(f"validation_{name}", getattr(summary, name), prog_bar=name == "accuracy", sync_dist=True)
        metrics.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam(W) with the plan's rate."""
        config = self.plan.config
        optimiser = torch.optim.AdamW(self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda epoch: self.plan.rate(epoch) / config.learning_rate
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def _augmented(self, batch: ClipBatch, *, with_sparse: bool) -> tuple[Tensor | None, Tensor]:
        """Float clips of the views; the flip is shared by both, the colours are drawn for each."""
        config = self.experiment.augment
        generator = torch.Generator().manual_seed(self._step_seed())
        flips = random_flips(len(batch["label"]), config.flip_probability, generator)

        def view(clips: Tensor) -> Tensor:
            coloured = jitter_colours(to_float(clips), config, generator)
            return flip_clips(coloured, flips).contiguous(memory_format=self.memory_format)

        dense = view(batch["dense"])
        return (view(batch["sparse"]) if with_sparse else None), dense

    def _step_seed(self) -> int:
        # Independent of what ran before, so that a resumed run augments as the uninterrupted one would.
        return hash((self.experiment.seed, self.global_step, self.global_rank)) & 0x7FFF_FFFF_FFFF_FFFF

    def _speed(self, maps: Tensor) -> Tensor:
        is_dense = torch.arange(len(maps), device=maps.device) < len(maps) // 2
        if self.model.speed_head is None:
            raise ValueError("the speed loss has a weight but the model has no speed head")
        logits = self.model.speed_head(pool(maps))
        self._log_epoch({"speed_accuracy": speed_accuracy(logits, is_dense)}, len(maps))
        return cast(Tensor, self.speed_loss(logits, is_dense))

    def _consistency(self, dense_map: Tensor, sparse_map: Tensor, batch: ClipBatch) -> Tensor:
        intervals = sparse_map.shape[2]
        frames_BKCHW, dense_frame_BCHW = centre_frames(batch["sparse"], batch["dense"], intervals)
        sparse_indices = batch["sparse_indices"].float()
        return cast(
            Tensor,
            self.consistency_loss(
                dense_map,
                sparse_map,
                dense_frame_BCHW,
                frames_BKCHW,
                batch["dense_indices"].float().mean(dim=1),
                sparse_indices.view(len(sparse_indices), intervals, -1).mean(dim=2),
            ),
        )

    def _classification(self, dense_map: Tensor, labels: Tensor) -> Tensor:
        if self.model.classifier is None:
            raise ValueError("the classification loss has a weight but the model has no classifier")
        return cast(Tensor, self.classification_loss(self.model.classifier(pool(dense_map)), labels))

    def _metrics(self) -> ClassificationMetrics:
        if self.validation_metrics is None:
            raise ValueError("a model without classes cannot be validated")
        return self.validation_metrics

    def _log_epoch(self, values: dict[str, Tensor], batch_size: int) -> None:
        for name, value in values.items():
            self.log(name, value.detach(), on_step=False, on_epoch=True, prog_bar=name == "loss", batch_size=batch_size)


def centre_frames(sparse_BCTHW: Tensor, dense_BCTHW: Tensor, num_intervals: int) -> tuple[Tensor, Tensor]:
    """Centre frames in RGB space, before any change of colour.

    Returns:
        Those of the K intervals of the sparse clip, (B, K, C, H, W), and that of the dense clip, (B, C, H, W), in
        [0, 1].
    """
    frames = sparse_BCTHW.shape[2]
    per_interval = frames // num_intervals
    centres = torch.arange(num_intervals, device=sparse_BCTHW.device) * per_interval + per_interval // 2
    return to_float(sparse_BCTHW[:, :, centres].transpose(1, 2)), to_float(dense_BCTHW[:, :, frames // 2])
