"""From scores of clips at several scales to probabilities that mean what they say, background among them.

Background is explicit. Where the model has an idle class, that is it; where not, background is one more class whose
logit is a constant, so that it wins where no action has a large one (a threshold on the free energy; Liu et al.,
NeurIPS 2020). It, a temperature (Guo et al., ICML 2017) and the weight of each scale are fitted on annotated videos.

Shapes: K scales, P positions, L classes of the model, A = L + 1 with background behind them, or L with an idle class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.segments import SegmentAnnotation

Floats = NDArray[np.float64]

IDLE_NAMES = frozenset({"background", "idle", "none", "no action", "no gesture", "nothing"})
_ECE_BINS = 15
_WEIGHT_DECAY = 1e-3


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities and segments.

    Attributes:
        temperature: logits are divided by it.
        background_logit: of background, after the division; None where nothing was fitted or there is an idle class.
        scale_weights: of the scales, the finest first; None weighs all alike.
        min_score: segments with less are not reported.
        stride_frames: of the finest clips that it was fitted for; None where nothing was fitted.

    Raises:
        ValueError: a value that cannot be.
    """

    temperature: float = 1.0
    background_logit: float | None = None
    scale_weights: tuple[float, ...] | None = None
    min_score: float = 0.3
    stride_frames: float | None = None

    def __post_init__(self) -> None:
        weights = (1.0,) if self.scale_weights is None else self.scale_weights
        if self.temperature <= 0 or not weights or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(
                f"temperature ({self.temperature}) and the sum of scale_weights ({self.scale_weights}) must be above 0"
            )

    def probabilities(self, logits_KPL: NDArray[np.floating], presence_KP: NDArray[np.floating]) -> Floats:
        """Probabilities (P, A) of logits averaged over the scales.

        Args:
            logits_KPL: of each scale, interpolated between its clips.
            presence_KP: how far each scale is known in each position, in 0..1; each position is known at some scale.

        Raises:
            ValueError: the calibration was fitted for another number of scales.
        """
        num_scales = len(logits_KPL)
        weights_K = np.ones(num_scales) if self.scale_weights is None else np.array(self.scale_weights)
        if len(weights_K) != num_scales:
            raise ValueError(f"calibrated for {len(weights_K)} scales, got {num_scales}; calibrate again")
        # A little of every scale, in case the one that is known has no weight.
        shares_KP = (weights_K[:, None] + 1e-6) * presence_KP
        logits_PL = np.einsum("kp,kpl->pl", shares_KP, logits_KPL) / shares_KP.sum(axis=0)[:, None] / self.temperature
        if self.background_logit is not None:
            background_P1 = np.full((len(logits_PL), 1), self.background_logit)
            logits_PL = np.concatenate([logits_PL, background_P1], axis=1)
        exponentials = np.exp(logits_PL - logits_PL.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def as_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def calibration_of(plain: Mapping[str, Any]) -> Calibration:
    """The inverse of `Calibration.as_plain`.

    Raises:
        TypeError, ValueError: it is none.
    """
    weights = plain.get("scale_weights")
    return Calibration(**{**plain, "scale_weights": None if weights is None else tuple(weights)})


def idle_class(class_names: Sequence[str]) -> int | None:
    """Index of the class that stands for background, by its name."""
    names = [name.lower().replace("_", " ") for name in class_names]
    return next((index for index, name in enumerate(names) if name in IDLE_NAMES), None)


def position_labels(
    segments: Sequence[SegmentAnnotation], centres_seconds: Floats, class_names: Sequence[str], background: int
) -> NDArray[np.int64]:
    """Class of each position (P,); -1 where a segment is of a class that the model does not know.

    Args:
        segments: what happens; of segments that overlap, the one that began last counts.
        centres_seconds: of the positions (P,).
        class_names: the model's.
        background: class of positions in no segment.
    """
    places = {name: index for index, name in enumerate(class_names)}
    labels = np.full(len(centres_seconds), background, dtype=np.int64)
    for segment in sorted(segments, key=lambda each: each.start_seconds):
        inside = (segment.start_seconds <= centres_seconds) & (centres_seconds < segment.end_seconds)
        labels[inside] = places.get(segment.label, -1)
    return labels


def fit_calibration(
    logits_KPL: NDArray[np.floating], labels_P: NDArray[np.int64], *, has_idle_class: bool, stride_frames: float
) -> Calibration:
    """Fit temperature, background and weights of the scales by maximum likelihood.

    Args:
        logits_KPL: of positions whose classes are known, at every scale.
        labels_P: classes of the positions; L is background where there is no idle class.
        has_idle_class: background is one of the L classes.
        stride_frames: of the finest clips, to be kept.

    Raises:
        ValueError: there is no position, or none of them is background where that is to be fitted.
    """
    from scipy.optimize import minimize  # here: detecting needs it not, and it is slow to import

    num_scales, num_positions, num_classes = logits_KPL.shape
    if num_positions == 0:
        raise ValueError("there is no position to calibrate on")
    if not has_idle_class and not (labels_P == num_classes).any():
        raise ValueError("no position is background, which is to be fitted; annotate videos in which nothing happens")
    places_P = np.arange(num_positions)
    free_energy = float(np.median(np.logaddexp.reduce(logits_KPL.mean(axis=0), axis=1)))

    def calibration(parameters: Floats) -> Calibration:
        weights_K = np.exp(parameters[2:] - parameters[2:].max())
        return Calibration(
            temperature=float(np.exp(parameters[0])),
            background_logit=None if has_idle_class else float(parameters[1]),
            scale_weights=tuple((weights_K / weights_K.sum()).tolist()),
            stride_frames=stride_frames,
        )

    def loss(parameters: Floats) -> float:
        probabilities_PA = calibration(parameters).probabilities(logits_KPL, np.ones((num_scales, num_positions)))
        likelihood_P = np.log(np.maximum(probabilities_PA[places_P, labels_P], 1e-12))
        # Bounds and a little decay, because for a model that is never wrong the best temperature is 0.
        return float(-likelihood_P.mean() + _WEIGHT_DECAY * (parameters[0] ** 2 + (parameters[2:] ** 2).sum()))

    start = np.array([0.0, free_energy, *np.zeros(num_scales)])
    bounds = [(-5.0, 5.0), (None, None), *[(-10.0, 10.0)] * num_scales]
    return calibration(minimize(loss, start, method="L-BFGS-B", bounds=bounds).x)


def expected_calibration_error(probabilities_PA: NDArray[np.floating], labels_P: NDArray[np.int64]) -> float:
    """How far confidence is from accuracy: ECE over 15 bins of equal width (Guo et al., ICML 2017).

    Args:
        probabilities_PA: of each class.
        labels_P: true classes.

    Raises:
        ValueError: there is no position.
    """
    if not len(labels_P):
        raise ValueError("there is no position to measure calibration on")
    return calibration_error(probabilities_PA.max(axis=1), probabilities_PA.argmax(axis=1) == labels_P)


def calibration_error(confidence: NDArray[np.floating], is_right: NDArray[np.bool_]) -> float:
    """How far confidence (N,), in 0..1, is from how often it is right (N,), over the same bins."""
    bins = np.minimum((confidence * _ECE_BINS).astype(np.int64), _ECE_BINS - 1)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=_ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
