from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.video import R2Plus1D_18_Weights, r2plus1d_18

from sparsedense.models.encoder import (
    KINETICS_MEAN,
    KINETICS_STD,
    Encoder,
    EncoderConfig,
    frame_differences,
    load_kinetics_weights,
    pool,
    quarter_features,
)


def small(mode: str) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(depth=10, width=0.125, input=mode)).eval()


def test_normalisation_is_torchvisions() -> None:
    transform = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    assert tuple(transform.mean) == KINETICS_MEAN
    assert tuple(transform.std) == KINETICS_STD
    clips = torch.rand(1, 3, 4, 112, 112)
    expected = (clips - torch.tensor(KINETICS_MEAN).view(3, 1, 1, 1)) / torch.tensor(KINETICS_STD).view(3, 1, 1, 1)
    torch.testing.assert_close(small("rgb").network_input(clips), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_residual_is_the_next_frame_minus_this_one_over_the_deviation(
    layout: torch.memory_format, with_gradient: bool
) -> None:
    clips = torch.rand(2, 3, 5, 4, 6).contiguous(memory_format=layout).requires_grad_(with_gradient)
    seen = small("residual").network_input(clips)
    assert seen.shape == clips.shape
    assert seen.is_contiguous(memory_format=layout)
    assert seen.requires_grad == with_gradient
    std = torch.tensor(KINETICS_STD).view(1, 3, 1, 1)
    for t, (this, following) in enumerate([(0, 1), (1, 2), (2, 3), (3, 4), (3, 4)]):
        torch.testing.assert_close(seen[:, :, t], (clips[:, :, following] - clips[:, :, this]) / std)


def test_both_is_rgb_and_residual() -> None:
    clips = torch.rand(2, 3, 4, 8, 8)
    expected = torch.cat([small("rgb").network_input(clips), small("residual").network_input(clips)], dim=1)
    assert torch.equal(small("both").network_input(clips), expected)


def test_residual_sees_motion_only() -> None:
    still = torch.rand(1, 3, 1, 16, 16).expand(1, 3, 8, 16, 16)
    residual, rgb = small("residual"), small("rgb")
    with torch.no_grad():
        assert torch.equal(residual(still), residual(torch.zeros(1, 3, 8, 16, 16)))
        assert not torch.equal(rgb(still), rgb(torch.zeros(1, 3, 8, 16, 16)))


@pytest.mark.parametrize("mode", ["rgb", "residual", "both"])
def test_map_has_four_positions_for_16_frames(mode: str) -> None:
    encoder = small(mode)
    map_BCKHW = encoder(torch.rand(2, 3, 16, 32, 32))
    assert map_BCKHW.shape == (2, encoder.feature_dim, 4, 2, 2)
    torch.testing.assert_close(pool(map_BCKHW), map_BCKHW.flatten(2).mean(dim=2))


def test_an_encoder_loads_torchvisions_weights_from_files(tmp_path: Path) -> None:
    theirs = r2plus1d_18(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    for name in ("theirs.pth", "theirs.safetensors"):
        encoder = Encoder(EncoderConfig())
        load_kinetics_weights(encoder, tmp_path / name)
        for parameter, value in encoder.backbone.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[parameter])


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    encoder = Encoder(EncoderConfig())
    with pytest.raises(
        FileNotFoundError, match=r"missing\.pth: no such state-dict file; give a file or one of .*DEFAULT"
    ):
        load_kinetics_weights(encoder, tmp_path / "missing.pth")
    save_file({"stem.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors: not the parameters of torchvision's r2plus1d_18"):
        load_kinetics_weights(encoder, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors here at all")
    with pytest.raises(ValueError, match=r"text\.safetensors: not a safetensors file"):
        load_kinetics_weights(encoder, tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match=r"Kinetics weights need depth=18.*got EncoderConfig\(depth=10"):
        load_kinetics_weights(small("rgb"))


def test_wrong_clips_are_named() -> None:
    with pytest.raises(ValueError, match=r"input \('flow'\) must be one of rgb, residual, both"):
        EncoderConfig(input="flow")
    with pytest.raises(TypeError, match=r"got torch.uint8; divide uint8 clips by 255"):
        small("rgb")(torch.zeros(1, 3, 4, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(B, 3, T, H, W\), got \(1, 4, 3, 8, 8\)"):
        small("rgb")(torch.zeros(1, 4, 3, 8, 8))
    with pytest.raises(ValueError, match="at least 2 frames"):
        frame_differences(torch.zeros(1, 3, 1, 8, 8))


@pytest.mark.parametrize(
    ("positions", "length", "quarters"), [(4, 16, 4), (8, 16, 4), (2, 16, 1), (4, 6, 1), (6, 8, 1)]
)
def test_the_mean_of_the_quarters_is_the_pooled_map(positions: int, length: int, quarters: int) -> None:
    map_BCKHW = torch.randn(2, 3, positions, 2, 5)
    features_BRC = quarter_features(map_BCKHW, length)
    assert features_BRC.shape == (2, quarters, 3)
    torch.testing.assert_close(features_BRC.mean(dim=1), pool(map_BCKHW))
    if quarters == 4:
        part = positions // 4
        torch.testing.assert_close(features_BRC[:, 1], map_BCKHW[:, :, part : 2 * part].mean(dim=(2, 3, 4)))
