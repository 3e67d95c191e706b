"""When each loss counts, and the learning rate (Figure 5 of Dave et al., 2020).

    epoch of 150    0        17.5     25        50        75                  150
    speed           1 ------- falls ~0
    consistency     0 ... rises ----- 1 ------- falls ~0
    classification  0 ------------------------- 1 -----------------------------
    learning rate   1e-3 ----------------> 1e-4 1e-3 ---- 1e-3 ----------> 1e-4

Epochs are 0-based; all breakpoints are shares of the number of epochs, so any number will do.
"""

import math
from typing import NamedTuple


class CurriculumWeights(NamedTuple):
    """Factors of the three losses in one epoch, each in [0, 1]."""

    speed: float
    consistency: float
    classification: float


def self_supervised_weight(epoch: int, num_epochs: int) -> float:
    """Weight of the speed loss: 1 for the first 0.7/6 of the epochs, then a Gaussian-like fall."""
    _check(epoch, num_epochs)
    fall_start = 0.7 * num_epochs / 6
    if epoch < fall_start:
        return 1.0
    return math.exp(-20.0 * (1.0 - fall_start / (epoch + 1)) ** 2)


def semi_supervised_weight(epoch: int, num_epochs: int) -> float:
    """Weight of the consistency loss: rises over the first sixth of the epochs, 1 until a third, then falls."""
    _check(epoch, num_epochs)
    rise_end, fall_start = num_epochs / 6, num_epochs / 3
    if epoch <= rise_end:
        return math.exp(-25.0 * (1.0 - epoch / rise_end) ** 2)
    if epoch < fall_start:
        return 1.0
    return math.exp(-90.0 * (1.0 - fall_start / epoch) ** 2)


def supervised_weight(epoch: int, num_epochs: int) -> float:
    """Weight of the classification loss: 0 up to and including a third of the epochs, then 1.

    By the formula epoch 50 of 150 still has weight 0, although it is the first that draws labelled videos only.
    """
    _check(epoch, num_epochs)
    return 0.0 if epoch <= num_epochs / 3 else 1.0


def curriculum_weights(epoch: int, num_epochs: int) -> CurriculumWeights:
    """The three weights of one epoch.

    Args:
        epoch: 0-based.
        num_epochs: of the whole curriculum; 150 in the paper.

    Raises:
        ValueError: the epoch is not one of the curriculum.
    """
    return CurriculumWeights(
        speed=self_supervised_weight(epoch, num_epochs),
        consistency=semi_supervised_weight(epoch, num_epochs),
        classification=supervised_weight(epoch, num_epochs),
    )


def draws_unlabelled(epoch: int, num_epochs: int) -> bool:
    """Whether an epoch draws from labelled and unlabelled videos (the first third), or from labelled ones only."""
    _check(epoch, num_epochs)
    return epoch < num_epochs / 3


def learning_rate(epoch: int, num_epochs: int, base: float = 1e-3, floor: float = 1e-4) -> float:
    """Learning rate of an epoch: linear fall over the first third, constant to the half, linear fall over the rest.

    Each fall takes its first epoch at `base` and its last at `floor` (epochs 0 and 49, 75 and 149 of 150).

    Args:
        epoch: 0-based.
        num_epochs: of the whole curriculum; 150 in the paper.
        base: 1e-3 in the paper (Adam, batches of 13).
        floor: 1e-4 in the paper.

    Raises:
        ValueError: the epoch is not one of the curriculum, or the rates are not 0 <= floor <= base.
    """
    _check(epoch, num_epochs)
    if not 0.0 <= floor <= base:
        raise ValueError(f"floor ({floor}) must be at least 0 and at most base ({base})")
    third, half = math.ceil(num_epochs / 3), math.ceil(num_epochs / 2)
    if epoch < third:
        share = epoch / max(third - 1, 1)
    elif epoch < half:
        share = 0.0
    else:
        share = (epoch - half) / max(num_epochs - 1 - half, 1)
    return (1.0 - share) * base + share * floor


def _check(epoch: int, num_epochs: int) -> None:
    if not 0 <= epoch < num_epochs:
        raise ValueError(f"epoch ({epoch}) must be at least 0 and below num_epochs ({num_epochs})")
