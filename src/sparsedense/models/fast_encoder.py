"""An encoder as it answers where nothing is trained: the same map, in the fastest way that there is for it.

Shapes: B clips, C channels, K temporal positions, T frames, H x W pixels.
"""

import torch
from torch import Tensor

from sparsedense.models.encoder import Encoder
from sparsedense.models.folded import FoldedR2Plus1D
from sparsedense.models.precision import answering_dtype
from sparsedense.models.r2plus1d import R2Plus1D


class FastEncoder:
    """Computes the maps of an encoder in evaluation mode, without gradients.

    On a CPU, R(2+1)D is folded (`models.folded`). In bfloat16 the clips are still normalised, and their frames
    subtracted, in float32: neighbouring frames differ by less than the steps of bfloat16 near 1.

    Args:
        precision: `auto`, `float32` or `bfloat16`, as in `models.precision`.

    Raises:
        ValueError: the precision is none of these.
    """

    def __init__(self, precision: str = "auto") -> None:
        answering_dtype(precision, torch.device("cpu"))  # an unknown one is refused here
        self._precision = precision
        self._folded: tuple[object, FoldedR2Plus1D] | None = None

    @property
    def is_folded(self) -> bool:
        """Whether a network was folded."""
        return self._folded is not None

    def __call__(self, encoder: Encoder, clips_BCTHW: Tensor) -> Tensor:
        """Map (B, C, K, H', W') in float32 of float clips (B, 3, T, H, W) in [0, 1], by the weights as they are now."""
        device = clips_BCTHW.device
        dtype = answering_dtype(self._precision, device)
        if type(encoder) is Encoder:  # what is derived from it may compute something else
            if device.type == "cpu" and isinstance(encoder.backbone, R2Plus1D):
                return self._folded_now(encoder.backbone, dtype)(encoder.network_input(clips_BCTHW))
            if dtype != torch.float32:
                inputs = encoder.network_input(clips_BCTHW)
                with torch.autocast(device.type, dtype):
                    rounded_BCKHW: Tensor = encoder.backbone(inputs)
                return rounded_BCKHW.float()
        map_BCKHW: Tensor = encoder(clips_BCTHW)
        return map_BCKHW

    def _folded_now(self, backbone: R2Plus1D, dtype: torch.dtype) -> FoldedR2Plus1D:
        """The folded network of the weights that there are now."""
        # Known again by where the weights lie and how often they were changed there; those of inference do not count.
        weights = (
            dtype,
            *(
                (each.data_ptr(), 0 if each.is_inference() else each._version)
                for each in backbone.state_dict(keep_vars=True).values()
            ),
        )
        if self._folded is None or self._folded[0] != weights:
            self._folded = (weights, FoldedR2Plus1D(backbone, dtype))
        return self._folded[1]
