"""The three trainings as plans: which losses weigh how much, and at what rate, in each epoch.

train      the paper's single curriculum: speed, then consistency, then classification      epochs 0 .. E
pretrain   its first third, without labels                                                  epochs 0 .. E/3
finetune   its last two thirds: classification alone
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from sparsedense.config import ObjectiveConfig, PhaseConfig
from sparsedense.losses.schedule import CurriculumWeights, curriculum_weights, draws_unlabelled, learning_rate

# Below this a loss adds nothing visible to the total, and the sparse clips that only it needs are not computed. The
# paper's weights fall below it a few epochs after their phase has ended.
NEGLIGIBLE_WEIGHT = 1e-3


class Phase(StrEnum):
    """Which training a run is; the value is the name of its section in an `Experiment`."""

    TRAIN = "train"
    PRETRAIN = "pretrain"
    FINETUNE = "finetune"


@dataclass(frozen=True)
class TrainingPlan:
    """Loss weights and learning rate over the epochs of one phase.

    Raises:
        ValueError: a phase that learns without labels has no loss to do so.
    """

    phase: Phase
    config: PhaseConfig
    objective: ObjectiveConfig

    def __post_init__(self) -> None:
        if self.phase is not Phase.FINETUNE and max(self.objective.speed, self.objective.consistency) <= 0:
            raise ValueError(
                f"objective.speed and objective.consistency are both 0, so that `{self.phase.value}` has nothing to "
                f"learn from unlabelled videos; set one above 0, or use `finetune`"
            )

    def weights(self, epoch: int) -> CurriculumWeights:
        """Weights of the three losses in an epoch, the objective's factors included, negligible ones set to 0."""
        scheduled = (weight if weight >= NEGLIGIBLE_WEIGHT else 0.0 for weight in self._scheduled(epoch))
        factors = (self.objective.speed, self.objective.consistency, 1.0)
        return CurriculumWeights(*(weight * factor for weight, factor in zip(scheduled, factors, strict=True)))

    def needs_pair(self, epoch: int) -> bool:
        """Whether an epoch's losses compare the two views; classification alone needs the dense clip only."""
        weights = self.weights(epoch)
        return weights.speed > 0 or weights.consistency > 0

    def draws_labelled_only(self, epoch: int) -> bool:
        """Whether an epoch leaves the unlabelled videos out: from a third of the curriculum on."""
        return not draws_unlabelled(*self._curriculum_position(epoch))

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        config = self.config
        if config.rate_schedule == "constant":
            return config.learning_rate
        if config.rate_schedule == "cosine":
            share = epoch / max(config.epochs - 1, 1)
            swing = (1 + math.cos(math.pi * share)) / 2
            return config.learning_rate_floor + (config.learning_rate - config.learning_rate_floor) * swing
        position, total = self._curriculum_position(epoch)
        return learning_rate(position, total, base=config.learning_rate, floor=config.learning_rate_floor)

    def _scheduled(self, epoch: int) -> CurriculumWeights:
        if self.phase is Phase.FINETUNE:
            return CurriculumWeights(0.0, 0.0, 1.0)
        if self.config.weight_schedule == "constant" and self.phase is Phase.PRETRAIN:
            return CurriculumWeights(1.0, 1.0, 0.0)
        weights = curriculum_weights(*self._curriculum_position(epoch))
        if 0 in (self.objective.speed, self.objective.consistency) and weights.classification == 0:
            # One of the two alone does not wait for the other, nor hand over to it: no epoch is left without a loss.
            weights = weights._replace(speed=1.0, consistency=1.0)
        return weights._replace(classification=0.0) if self.phase is Phase.PRETRAIN else weights

    def _curriculum_position(self, epoch: int) -> tuple[int, int]:
        """Epoch and number of epochs of the whole curriculum that this phase is a part of."""
        epochs = self.config.epochs
        if self.phase is Phase.PRETRAIN:
            return epoch, 3 * epochs
        if self.phase is Phase.FINETUNE:
            total = -(-3 * epochs // 2)
            return epoch + total - epochs, total
        return epoch, epochs
