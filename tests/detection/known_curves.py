"""Videos whose frames are single grey pixels, and networks that see in them what happens, for tests of the scan."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.calibration import Calibration
from sparsedense.detection.held_frames import TimedPicture

FPS = 25.0


def grey_frames(values: Sequence[int] | NDArray[np.int64]) -> Iterator[TimedPicture]:
    """A frame (1, 1, 3) for each grey value, 25 a second."""
    for number, value in enumerate(values):
        yield TimedPicture(number / FPS, partial(np.full, (1, 1, 3), int(value), dtype=np.uint8))


def classes_by_grey(num_classes: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Logits (B, 1, L) by the shares of a clip's frames of grey value 0, 1, ...; clips half in an action are unsure."""

    def score(clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        greys_BT = clips[:, :, 0, 0, 0]
        shares = np.stack([(greys_BT == value).mean(axis=1) for value in range(num_classes)], axis=1)
        return np.asarray(8 * shares, dtype=np.float32)[:, None]

    return score


PLAIN = Calibration().probabilities
