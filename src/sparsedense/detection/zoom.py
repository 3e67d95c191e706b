"""Which clips a scan computes after its skim: one after the other, each where the most is still unsure.

All clips cost the same, so a clip is worth what is unsure in the whole stretch that it sees. Once it is chosen, little
is left there for others of its scale, and less for those of other scales: clips come to lie end to end before they
overlap. Shapes: P positions of the finest scale, K scales, N clips that may be chosen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What is left of the uncertainty in the stretch of a clip that was chosen, for clips of its scale and of others.
_LEFT_SAME_SCALE, _LEFT_OTHER_SCALE = 0.1, 0.6
# Below full effort, clips where uncertainty is under this share are not worth computing even if they may be.
_CALM = 0.1


class Candidate(NamedTuple):
    """A clip that may be computed.

    Attributes:
        scale: of the clip.
        cell: of its scale.
        first, end: positions of its stretch, `first` to `end - 1`; at least one.
    """

    scale: int
    cell: int
    first: int
    end: int


def choose(
    uncertainty_P: Floats, candidates: list[Candidate], *, most: int, scale_values: Floats, effort: float
) -> list[Candidate]:
    """The clips worth computing, at most so many, none that is calm; more of them are the same ones and others.

    Args:
        uncertainty_P: how unsure each position is, in 0..1.
        candidates: what may be chosen.
        most: how many at most.
        scale_values: what a clip of each scale is worth (K,), that of the best scale 1.
        effort: in 0..1; at 1 nothing is calm.
    """
    if most >= len(candidates) and effort >= 1:
        return list(candidates)
    left_KP = uncertainty_P * scale_values[:, None]
    least = (1 - effort) * _CALM
    # By the uncertainty as it was, not as it is left, so that more effort takes what less takes.
    open_ones = [each for each in candidates if left_KP[each.scale, each.first : each.end].mean() >= least]
    chosen: list[Candidate] = []
    values = np.array([left_KP[each.scale, each.first : each.end].sum() for each in open_ones])
    while len(chosen) < min(most, len(open_ones)):
        best = int(values.argmax())
        taken = open_ones[best]
        chosen.append(taken)
        left_KP[:, taken.first : taken.end] *= _LEFT_OTHER_SCALE
        left_KP[taken.scale, taken.first : taken.end] *= _LEFT_SAME_SCALE / _LEFT_OTHER_SCALE
        for index, each in enumerate(open_ones):
            if values[index] >= 0 and each.first < taken.end and taken.first < each.end:
                values[index] = left_KP[each.scale, each.first : each.end].sum()
        values[best] = -1.0
    return chosen
