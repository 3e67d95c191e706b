import pytest
import torch

from sparsedense.models.encoder import Encoder, EncoderConfig
from sparsedense.models.fast_encoder import FastEncoder


@pytest.mark.parametrize("backbone", ["r3d_18", "s3d"])
def test_other_networks_are_rounded_by_autocast(backbone: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(backbone=backbone)).eval()
    clips = torch.rand(1, 3, 16, 32, 32)
    with torch.inference_mode():
        expected = encoder(clips)
        assert torch.equal(FastEncoder("float32")(encoder, clips), expected)
        found = FastEncoder("bfloat16")(encoder, clips)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.2 * expected.std()
