import numpy as np
import pytest

from sparsedense.data.segments import SegmentAnnotation
from sparsedense.detection.calibration import (
    Calibration,
    calibration_of,
    expected_calibration_error,
    fit_calibration,
    idle_class,
    position_labels,
)


def test_probabilities_are_the_formula() -> None:
    logits_KPL = np.array([[[1.0, 2.0, 0.0]], [[3.0, 0.0, 0.0]]])
    fitted = Calibration(temperature=2.0, background_logit=0.5, scale_weights=(0.25, 0.75))
    fused = np.array([2.5, 0.5, 0.0]) / 2.0
    expected = np.exp([*fused, 0.5]) / np.exp([*fused, 0.5]).sum()
    np.testing.assert_allclose(fitted.probabilities(logits_KPL, np.ones((2, 1)))[0], expected, atol=1e-5)
    absent = fitted.probabilities(logits_KPL, np.array([[1.0], [0.0]]))[0]
    np.testing.assert_allclose(absent, np.exp([0.5, 1.0, 0, 0.5]) / np.exp([0.5, 1.0, 0, 0.5]).sum(), atol=1e-9)
    assert Calibration().probabilities(logits_KPL, np.ones((2, 1))).shape == (1, 3)
    with pytest.raises(ValueError, match="calibrate again"):
        fitted.probabilities(logits_KPL[:1], np.ones((1, 1)))


def drawn(temperature: float, background: float | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of two scales, of which the second is noise, and classes drawn from the probabilities that they mean."""
    rng = np.random.default_rng(seed)
    logits_PL = rng.normal(0, 6, (4000, 3))
    truth = Calibration(temperature, background).probabilities(logits_PL[None], np.ones((1, 4000)))
    labels = (rng.random((4000, 1)) > truth.cumsum(axis=1)).sum(axis=1)
    noise = rng.normal(0, 6, (4000, 3))
    return np.stack([logits_PL, noise]), labels.astype(np.int64)


@pytest.mark.parametrize("background", [1.5, None])
def test_what_made_the_classes_is_found_again(background: float | None) -> None:
    logits_KPL, labels = drawn(3.0, background)
    fitted = fit_calibration(logits_KPL, labels, has_idle_class=background is None, stride_frames=2.0)
    assert fitted.temperature == pytest.approx(3.0, rel=0.15)
    assert fitted.background_logit == (None if background is None else pytest.approx(background, abs=0.2))
    assert fitted.scale_weights is not None
    assert fitted.scale_weights[0] > 0.95
    assert fitted.stride_frames == 2.0
    presence = np.ones((2, 4000))
    before = expected_calibration_error(Calibration().probabilities(logits_KPL, presence), labels)
    after = expected_calibration_error(fitted.probabilities(logits_KPL, presence), labels)
    assert after < 0.03 < 0.2 < before


def test_background_needs_positions() -> None:
    logits_KPL, labels = drawn(1.0, None)
    with pytest.raises(ValueError, match="no position is background"):
        fit_calibration(logits_KPL, labels, has_idle_class=False, stride_frames=1.0)
    with pytest.raises(ValueError, match="no position to calibrate"):
        fit_calibration(logits_KPL[:, :0], labels[:0], has_idle_class=True, stride_frames=1.0)


def test_the_calibration_error_of_known_confidences() -> None:
    # 0.85 right half of the time, 0.65 always: gaps of 0.35 and 0.35
    probabilities = np.array([[0.85, 0.15], [0.85, 0.15], [0.35, 0.65], [0.35, 0.65]])
    assert expected_calibration_error(probabilities, np.array([0, 1, 1, 1])) == pytest.approx(0.35)
    with pytest.raises(ValueError, match="no position"):
        expected_calibration_error(probabilities[:0], np.zeros(0, dtype=np.int64))


def test_positions_get_the_class_of_the_segment_they_are_in() -> None:
    segments = [SegmentAnnotation(1.0, 3.0, "a"), SegmentAnnotation(2.0, 4.0, "b"), SegmentAnnotation(5.0, 6.0, "new")]
    labels = position_labels(segments, np.array([0.5, 1.0, 2.5, 3.5, 4.0, 5.5]), ["a", "b"], 2)
    assert labels.tolist() == [2, 0, 1, 1, 2, -1]


def test_idle_classes_are_known_by_name() -> None:
    assert idle_class(["jump", "No_Action"]) == 1
    assert idle_class(["jump", "idle hands"]) is None


def test_it_survives_being_plain() -> None:
    fitted = Calibration(2.0, -1.0, (0.2, 0.8), 0.4, 3.0)
    assert calibration_of(fitted.as_plain() | {"scale_weights": [0.2, 0.8]}) == fitted
    assert calibration_of(Calibration().as_plain()) == Calibration()
    with pytest.raises(ValueError, match="temperature"):
        calibration_of({"temperature": 0.0})
