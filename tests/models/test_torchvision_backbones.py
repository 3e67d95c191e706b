from pathlib import Path

import pytest
import torch
from torchvision.models import get_model, get_model_weights

from sparsedense.models.encoder import Encoder, EncoderConfig, load_kinetics_weights
from sparsedense.models.model_file import load_model, save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.models.torchvision_backbones import TORCHVISION_BACKBONES, TorchvisionBackbone

SHAPES = {
    "r3d_18": (512, 4, 7, 7), "mc3_18": (512, 16, 7, 7), "s3d": (1024, 2, 3, 3), "mvit_v2_s": (768, 8, 4, 4),
    "swin3d_t": (768, 8, 4, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TORCHVISION_BACKBONES))
def test_every_network_ends_at_its_map(name: str) -> None:
    with torch.device("meta"):
        net = TorchvisionBackbone(name, in_channels=6, last_stage_temporal_stride=1)
        map_BCKHW = net(torch.empty(2, 6, 16, 112, 112))
    assert map_BCKHW.shape == (2, *SHAPES[name])
    assert net.feature_dim == SHAPES[name][0]


@pytest.mark.parametrize("name", list(TORCHVISION_BACKBONES))
def test_parameters_and_normalisation_are_torchvisions(name: str) -> None:
    transform = get_model_weights(name).DEFAULT.transforms()
    assert tuple(transform.mean) == TORCHVISION_BACKBONES[name].pixel_mean
    assert tuple(transform.std) == TORCHVISION_BACKBONES[name].pixel_std
    with torch.device("meta"):
        theirs, ours = get_model(name, weights=None).state_dict(), TorchvisionBackbone(name)
    ours.load_state_dict(ours.state_dict())
    head = set(theirs) - {key.removeprefix("net.") for key in ours.state_dict()}
    assert {key.split(".")[0] for key in head} <= {"fc", "classifier", "head"}
    assert head
    assert {key.removeprefix("net.") for key in ours.state_dict()} <= set(theirs)


def test_mvits_features_are_those_of_torchvisions_forward() -> None:
    torch.manual_seed(0)
    theirs = get_model("mvit_v2_s", weights=None, num_classes=1).eval()
    theirs.pos_encoding.temporal_size, theirs.pos_encoding.spatial_size = 2, (8, 8)
    ours = TorchvisionBackbone("mvit_v2_s")
    ours.net, net = theirs, theirs
    clips, seen = torch.rand(1, 3, 4, 32, 32), []
    net.norm.register_forward_hook(lambda _module, _inputs, tokens: seen.append(tokens))
    with torch.no_grad():
        net(clips)
        map_BCKHW = ours.eval()(clips)
    torch.testing.assert_close(map_BCKHW.flatten(2).transpose(1, 2), seen[0][:, 1:])


def test_a_files_weights_are_loaded_and_a_model_file_holds_them(tmp_path: Path) -> None:
    theirs = get_model("s3d", weights=None)
    torch.save(theirs.state_dict(), tmp_path / "s3d.pth")
    model = build_recogniser(EncoderConfig(backbone="s3d"), ("walk", "run"))
    load_kinetics_weights(model.encoder, tmp_path / "s3d.pth")
    save_model(tmp_path / "model.safetensors", model, provenance={})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.encoder.config == EncoderConfig(backbone="s3d")
    clips = torch.rand(1, 3, 16, 32, 32)
    with torch.no_grad():
        inside = loaded.encoder.network_input(clips)
        torch.testing.assert_close(loaded.encoder(clips), theirs.eval().features(inside))
        assert loaded(clips).shape == (1, 2)
    assert loaded.encoder.map_positions(16) == 2
    with pytest.raises(ValueError, match="not the parameters of torchvision's r3d_18"):
        load_kinetics_weights(Encoder(EncoderConfig(backbone="r3d_18")), tmp_path / "s3d.pth")


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"backbone \('i3d'\) must be one of r2plus1d, r3d_18"):
        EncoderConfig(backbone="i3d")
    with pytest.raises(ValueError, match=r"width \(0.5\) are those of r2plus1d; s3d has one size"):
        EncoderConfig(backbone="s3d", width=0.5)
