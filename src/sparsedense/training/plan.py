"""The three trainings as plans: which losses weigh how much, and at what rate, in each epoch.

train      the paper's single curriculum: speed, then consistency, then classification      epochs 0 .. E
pretrain   its first third, without labels                                                  epochs 0 .. E/3
finetune   its last two thirds: classification alone
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from sparsedense.config import PhaseConfig
from sparsedense.losses.schedule import CurriculumWeights, curriculum_weights, draws_unlabelled, learning_rate
from sparsedense.objectives_config import ObjectiveConfig

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
        weights = self.objective.weights()
        if min(weights.values()) < 0:
            raise ValueError(f"the weights of the objective ({weights}) must be at least 0")
        if self.phase is not Phase.FINETUNE and max(weights.values()) <= 0:
            raise ValueError(
                f"objective.*.weight is 0 for all of {', '.join(weights)}, so that `{self.phase.value}` has nothing to "
                f"learn from unlabelled videos; set one above 0, or use `finetune`"
            )

    def weights(self, epoch: int) -> dict[str, float]:
        """Weight of each loss in an epoch, by name, the objective's factors included, negligible ones set to 0.

        The paper's schedule has a weight for the speed loss and one for the consistency loss; the other objectives
        compare two clips of a video too, and share the latter.
        """
        scheduled = self._scheduled(epoch)
        shares = {"speed": scheduled.speed, "classification": scheduled.classification}
        factors = self.objective.weights() | {"classification": 1.0}
        weights = {name: shares.get(name, scheduled.consistency) for name in factors}
        return {name: share * factors[name] if share >= NEGLIGIBLE_WEIGHT else 0.0 for name, share in weights.items()}

    def needs_pair(self, epoch: int) -> bool:
        """Whether an epoch's losses compare the views; classification alone needs the dense clip only."""
        return any(weight > 0 for name, weight in self.weights(epoch).items() if name != "classification")

    def draws_labelled_only(self, epoch: int) -> bool:
        """Whether an epoch leaves the unlabelled videos out: from a third of the curriculum on."""
        return not draws_unlabelled(*self._curriculum_position(epoch))

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        config = self.config
        if config.rate_schedule == "constant":
            return config.learning_rate
        floor = min(config.learning_rate_floor, config.learning_rate)
        if config.rate_schedule == "cosine":
            share = epoch / max(config.epochs - 1, 1)
            swing = (1 + math.cos(math.pi * share)) / 2
            return floor + (config.learning_rate - floor) * swing
        position, total = self._curriculum_position(epoch)
        return learning_rate(position, total, base=config.learning_rate, floor=floor)

    def _scheduled(self, epoch: int) -> CurriculumWeights:
        if self.phase is Phase.FINETUNE:
            return CurriculumWeights(0.0, 0.0, 1.0)
        if self.config.weight_schedule == "constant" and self.phase is Phase.PRETRAIN:
            return CurriculumWeights(1.0, 1.0, 0.0)
        weights = curriculum_weights(*self._curriculum_position(epoch))
        factors = self.objective.weights()
        speed = factors.pop("speed")
        if (speed == 0 or max(factors.values()) == 0) and weights.classification == 0:
            # One of the two kinds alone does not wait for the other, nor hand over to it: no epoch is without a loss.
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
