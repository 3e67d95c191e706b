"""The Lightning module of all three trainings: one mixed batch of all clips, a weighted sum of losses.

Shapes: B videos, K temporal positions of the map, C channels, H x W pixels.
"""

from collections import deque
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from sparsedense.config import Experiment
from sparsedense.data.augment import Generators, add_noise, flip_clips, jitter_colours, random_flips, to_float
from sparsedense.data.evaluation_clips import PADDING
from sparsedense.data.loader import ClipBatch
from sparsedense.evaluation.metrics import ClassificationMetrics
from sparsedense.losses.classification import ClassificationLoss
from sparsedense.models.encoder import Encoder, pool
from sparsedense.models.recogniser import Recogniser
from sparsedense.models.teacher import Teacher
from sparsedense.training.epoch_means import EpochMeans
from sparsedense.training.gather import means_over_processes, share_buffers
from sparsedense.training.machine import resolve_fused_optimiser
from sparsedense.training.objectives import ContrastObjective, Maps, build_objectives
from sparsedense.training.outcomes import Contribution, Outcome, outcomes_of
from sparsedense.training.plan import Phase, TrainingPlan
from sparsedense.training.sharding import is_sharded, shard_encoder, shard_head
from sparsedense.training.sync_batchnorm import convert_batchnorm

RECENT_STEPS = 16  # features of so many steps are kept to measure their spread
_AUGMENTATION = 1  # tells its random numbers from those that chose the frames of the same draw


class SparseDenseModule(LightningModule):
    """Trains a recogniser by its objectives and by classification, as its plan weighs them.

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
        self.classification_loss = ClassificationLoss()
        self.objectives, self.teacher = nn.ModuleDict(), None
        if plan.phase is not Phase.FINETUNE:
            encoder = model.encoder
            self.objectives = build_objectives(
                objective,
                experiment.clips,
                feature_dim=encoder.feature_dim,
                map_positions=encoder.map_positions,
            )
            self.teacher = Teacher(encoder, momentum=objective.teacher_momentum) if objective.needs_teacher else None
        self._set_up_network(experiment)
        self._recent_features: deque[Tensor] = deque(maxlen=RECENT_STEPS)
        self.epoch_means = EpochMeans()
        num_classes = len(model.class_names)
        self.validation_metrics = ClassificationMetrics(num_classes) if num_classes else None

    def _set_up_network(self, experiment: Experiment) -> None:
        # In place, so that weights keep their names; the teacher's copy gains as much from a compiled network.
        self.model.encoder.backbone.checkpoint_activations = experiment.machine.checkpoint_activations
        if experiment.machine.compile != "no":
            for encoder in self._encoders():
                encoder.backbone.compile(mode=experiment.machine.compile)

    def configure_model(self) -> None:
        """Share the weights out among the processes where the strategy does; Lightning calls it before training."""
        if self._device_mesh is None or is_sharded(self):
            return
        mesh = self._device_mesh["data_parallel"]
        self.to(memory_format=torch.contiguous_format)  # of the weights; only such can be shared out
        convert_batchnorm(self)
        for encoder in self._encoders():
            shard_encoder(encoder, mesh)
        for head in (self.model.speed_head, self.model.classifier, *self.objectives.values()):
            if head is not None:
                shard_head(head, mesh)

    def _encoders(self) -> list[Encoder]:
        """The encoder and its slow copy, where there is one."""
        return [self.model.encoder, *([] if self.teacher is None else [cast(Encoder, self.teacher.module)])]

    def on_train_epoch_start(self) -> None:
        """Forget the features and means of the epoch before; not called where a run goes on inside an epoch."""
        self._recent_features.clear()
        self.epoch_means.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the epoch has shown so far."""
        checkpoint["epoch_so_far"] = {"means": self.epoch_means.state_dict(), "features": list(self._recent_features)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        self.epoch_means.load_state_dict(checkpoint["epoch_so_far"]["means"])
        self._recent_features.extend(checkpoint["epoch_so_far"]["features"])

    def training_step(self, batch: ClipBatch, batch_index: int) -> Tensor:
        """Total loss of a batch."""
        weights = self.plan.weights(self.current_epoch)
        clips = self._augmented(batch, with_sparse=self.plan.needs_pair(self.current_epoch))
        told: dict[str, Contribution] = {}
        if len(clips) == len(batch["dense"]):
            dense_map = self.model.encoder(clips)
        else:
            maps = self._maps(clips, batch)
            told = {name: objective(maps) for name, objective in self.objectives.items() if weights[name] > 0}
            dense_map = maps.dense
        self._recent_features.append(pool(dense_map.detach()))
        if weights["classification"] > 0:
            told["classification"] = self._classification(dense_map, batch["label"])
        outcomes = outcomes_of(told)
        if batch_index == 0 and not is_sharded(self):  # shared out, a loss alone has no gradient in the weights
            self._log_epoch(self._gradients(outcomes), len(batch["label"]))
        total = torch.stack([weights[name] * outcome.loss for name, outcome in outcomes.items()]).sum()
        self._log_outcomes(outcomes, total, len(batch["label"]))
        return total * self._weight_in_step(batch_index)

    def _weight_in_step(self, batch_index: int) -> float:
        """Lightning divides each loss by `accumulate`, also in an epoch's last step where that has fewer batches."""
        accumulate, trainer = self.plan.config.accumulate, self._trainer
        if accumulate == 1 or trainer is None:
            return 1.0
        batches = trainer.num_training_batches - batch_index // accumulate * accumulate
        return accumulate / min(accumulate, batches)

    def recent_features(self) -> Tensor:
        """Pooled features (N, C) of dense clips of the epoch's last steps."""
        features = [features_NC.to(self.device) for features_NC in self._recent_features]
        return torch.cat(features) if features else torch.empty(0, 1)

    def on_train_batch_end(self, _outputs: object = None, _batch: object = None, batch_index: int = 0) -> None:
        """Move the slow copies towards what they copy, after each step of the optimiser."""
        accumulates = (batch_index + 1) % self.plan.config.accumulate != 0
        if accumulates and not self.trainer.is_last_batch:
            return
        if self.teacher is not None:
            self.teacher.update(self.model.encoder)
        for objective in self.objectives.values():
            if isinstance(objective, ContrastObjective):
                objective.update_teacher()

    def on_validation_epoch_start(self) -> None:
        """Validate with BatchNorm's running statistics of the first process, which are those that are saved."""
        share_buffers(self.model)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _batch_index: int) -> None:
        """Collect probabilities of validation clips; the batch holds clips, rows and labels."""
        clips, rows, labels = batch
        logits = self.model(to_float(clips).contiguous(memory_format=self.memory_format)).float()
        real = rows != PADDING  # what makes the processes' shares equal counts for nothing
        loss = F.cross_entropy(logits[real], labels[real], reduction="sum") / real.sum().clamp_min(1)
        self.log("validation_loss", loss, batch_size=int(real.sum()), sync_dist=True)
        self._metrics().update(logits[real].softmax(dim=-1), labels[real])

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
        optimiser = torch.optim.AdamW(
            self.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=resolve_fused_optimiser(self.experiment.machine, clips_gradients=config.gradient_clip is not None),
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            # After the last epoch there is no rate, but the scheduler asks for one.
            optimiser,
            lambda epoch: self.plan.rate(min(epoch, config.epochs - 1)) / config.learning_rate,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def _augmented(self, batch: ClipBatch, *, with_sparse: bool) -> Tensor:
        """Float clips of the views, the dense ones first.

        The flip is shared by all clips of a video, the rest is drawn for each.
        """
        config = self.experiment.augment
        videos = self._generators(batch)
        flips = random_flips(config.flip_probability, videos)

        def view(clips: Tensor, flips_B: Tensor, generators: Generators) -> Tensor:
            changed = add_noise(jitter_colours(to_float(clips), config, generators), config, generators)
            return flip_clips(changed, flips_B)

        num_dense = len(batch["dense"]) // len(flips)
        of_dense = [clip for video in videos for clip in video.spawn(num_dense)]
        count = len(of_dense) + (len(videos) if with_sparse else 0)
        clips = torch.empty(
            (count, *batch["dense"].shape[1:]), device=batch["dense"].device, memory_format=self.memory_format
        )
        clips[: len(of_dense)] = view(batch["dense"], flips.repeat_interleave(num_dense), of_dense)
        if with_sparse:
            clips[len(of_dense) :] = view(batch["sparse"], flips, videos)
        return clips

    def _maps(self, clips: Tensor, batch: ClipBatch) -> Maps:
        # One batch for all clips, so that BatchNorm's statistics cannot tell the views apart.
        sizes = [len(batch["dense"]), len(batch["sparse"])]
        dense_map, sparse_map = self.model.encoder(clips).split(sizes)
        taught = (None, None) if self.teacher is None else self.teacher(clips).split(sizes)
        return Maps(dense_map, sparse_map, batch, self.model.speed_head, *taught)

    def _generators(self, batch: ClipBatch) -> list[np.random.Generator]:
        # Of the draw alone, so that a resumed run augments as the uninterrupted one, and several processes as one.
        draw = self.experiment.seed, self.current_epoch
        return [np.random.default_rng((*draw, position, _AUGMENTATION)) for position in batch["position"].tolist()]

    def _gradients(self, outcomes: dict[str, Outcome]) -> dict[str, Tensor]:
        """Norm of the gradient of each loss alone in the encoder: what does not reach it teaches it nothing."""
        weights = [parameter for parameter in self.model.encoder.parameters() if parameter.requires_grad]
        norms = {}
        for name, outcome in outcomes.items():
            found: list[Tensor] = []
            if outcome.loss.requires_grad:
                gradients = torch.autograd.grad(outcome.loss, weights, retain_graph=True, allow_unused=True)
                found = means_over_processes([gradient for gradient in gradients if gradient is not None])
            # A loss that does not reach the encoder is what the figure is there to tell: 0, not an error.
            norms[f"gradient_{name}"] = (
                torch.stack(torch._foreach_norm(found)).norm() if found else torch.zeros_like(outcome.loss)
            )
        return norms

    def _classification(self, dense_map: Tensor, labels_B: Tensor) -> Contribution:
        classifier = self.model.classifier
        if classifier is None:
            raise ValueError("the classification loss has a weight but the model has no classifier")
        # All processes' videos, a row each as of the other objectives: how many have a label may differ between them.
        logits_BDN = classifier(pool(dense_map)).view(len(labels_B), -1, classifier.num_classes)
        return Contribution(self._classified, rows=(logits_BDN, labels_B))

    def _classified(self, logits_BDN: Tensor, labels_B: Tensor) -> Outcome:
        # All dense clips of a video have its label: the first of several shows always the same part of the video.
        labels = labels_B.long().repeat_interleave(logits_BDN.shape[1])
        return Outcome(self.classification_loss(logits_BDN.flatten(0, 1), labels))

    def _metrics(self) -> ClassificationMetrics:
        if self.validation_metrics is None:
            raise ValueError("a model without classes cannot be validated")
        return self.validation_metrics

    def _log_outcomes(self, outcomes: dict[str, Outcome], total: Tensor, batch_size: int) -> None:
        values = {"loss": total}
        for name, outcome in outcomes.items():
            values[f"loss_{name}"] = outcome.loss
            if outcome.guess is not None:
                values[f"guess_{name}"] = torch.tensor(outcome.guess, device=total.device)
            if outcome.accuracy is not None:
                values[f"{name}_accuracy"] = outcome.accuracy
        self._log_epoch(values, batch_size)

    def _log_epoch(self, values: dict[str, Tensor], batch_size: int) -> None:
        self.epoch_means.add(values, batch_size)
        if "loss" in values:  # for the progress bar; what is written comes from the means
            self.log("loss", values["loss"].detach(), prog_bar=True, logger=False, on_step=True, on_epoch=False)
