"""Recognisers without training, whose answers on the squares of `tests/conftest.py` can be told beforehand."""

from dataclasses import asdict

import torch
from torch import Tensor, nn

from sparsedense.models.recogniser import Recogniser, build_recogniser
from tests.conftest import MOTIONS, tiny_experiment


def tiny_recogniser(class_names: tuple[str, ...] = tuple(MOTIONS)) -> Recogniser:
    experiment = tiny_experiment()
    torch.manual_seed(0)
    return build_recogniser(experiment.model, class_names, clips=asdict(experiment.clips))


class ColourFeatures(nn.Module):
    """In place of an encoder: the mean colour as a map (B, 3, 1, 1, 1), about the clip's grey."""

    def forward(self, clips_BCTHW: Tensor) -> Tensor:
        colours = clips_BCTHW.mean(dim=(2, 3, 4), keepdim=True)
        return colours - colours.mean(dim=1, keepdim=True)


class Sharpen(nn.Module):
    """In place of a classifier: the brightest colour channel is the class."""

    def forward(self, features_BC: Tensor) -> Tensor:
        return 1000 * features_BC


def colour_recogniser() -> Recogniser:
    """Always right on the squares: their colour is their class."""
    model = tiny_recogniser()
    model.register_module("encoder", ColourFeatures())
    model.register_module("classifier", Sharpen())
    model.register_parameter("unused", nn.Parameter(torch.zeros(1)))  # tells the device
    return model


def constant_recogniser(class_id: int) -> Recogniser:
    """Always of one opinion."""
    model = tiny_recogniser()
    assert model.classifier is not None
    nn.init.zeros_(model.classifier.linear.weight)
    with torch.no_grad():
        model.classifier.linear.bias.copy_(10.0 * torch.eye(3)[class_id])
    return model
