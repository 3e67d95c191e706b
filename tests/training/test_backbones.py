"""Every backbone learns by every objective: a step reaches its first layer."""

from dataclasses import asdict
from typing import Any

import pytest
import torch

from sparsedense.models.encoder import BACKBONES, R2PLUS1D
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training.measured_step import synthetic_batch
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import num_speeds
from sparsedense.training.plan import Phase, TrainingPlan
from tests.conftest import tiny_experiment

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

# Frames of a clip for a map of two temporal positions: as many as the generator then needs dense clips.
FRAMES = {R2PLUS1D: 8, "r3d_18": 8, "mc3_18": 2, "s3d": 16, "mvit_v2_s": 4, "swin3d_t": 4}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "ours": {
        "speed": {"weight": 1.0, "kind": "ranking"},
        "consistency": {"weight": 1.0, "kind": "cosine", "target": "teacher"},
        "alignment": {"weight": 1.0},
        "contrast": {"weight": 1.0, "kind": "info_nce"},
        "generator": {"weight": 1.0},
    },
    "others": {
        "speed": {"weight": 1.0, "kind": "binary"},
        "consistency": {"weight": 1.0, "kind": "jsd"},
        "alignment": {"weight": 1.0, "across_videos": False},
        "contrast": {"weight": 1.0, "kind": "vicreg"},
    },
}


@pytest.mark.parametrize("kinds", list(OBJECTIVES))
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_objective_teaches_every_backbone(backbone: str, kinds: str) -> None:
    made = tiny_experiment(
        model={"backbone": backbone, "depth": 18, "width": 1.0 if backbone != R2PLUS1D else 0.125},
        clips={"length": FRAMES[backbone], "size": 32, "dense_clips": 2, "skip_ratio": 2.0},
        objective=OBJECTIVES[kinds],
    )
    torch.manual_seed(0)
    model = build_recogniser(made.model, clips=asdict(made.clips), num_speeds=num_speeds(made.objective, made.clips))
    plan = TrainingPlan(Phase.PRETRAIN, made.pretrain, made.objective)
    module = SparseDenseModule(model, made, plan).train()
    loss = module.training_step(synthetic_batch(made.clips, 2), 0)
    assert loss.isfinite()
    reached = {
        name.removeprefix("gradient_"): norm
        for name, norm in module.epoch_means.means().items()
        if name.startswith("gradient_")
    }
    assert reached.keys() == OBJECTIVES[kinds].keys()
    assert all(0 < norm < float("inf") for norm in reached.values()), reached
    loss.backward()  # type: ignore[no-untyped-call]
    first = next(model.encoder.backbone.parameters())
    assert first.grad is not None
    assert 0 < float(first.grad.norm()) < float("inf")
