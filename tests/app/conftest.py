"""A page with a model that knows colours, a store of coloured squares with a broken file in it, and three runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from torch import Tensor, nn

from sparsedense.app.limits import Limits
from sparsedense.app.server import AppSettings, create_app
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.detection.calibration import Calibration
from sparsedense.prediction.video_recogniser import VideoRecogniser
from sparsedense.video.write import write_video
from tests.conftest import MOTIONS, square_frames
from tests.evaluation.colour_model import ColourFeatures, tiny_recogniser

FPS = 25.0
# Label, its colour channel, start and end in seconds; what lies between is grey and no action.
ACTIONS = (("diagonal", 0, 1.0, 3.0), ("right", 2, 5.0, 7.0))
DURATION_SECONDS = 8.0
BASE = "http://127.0.0.1:8321"


class Tell(nn.Module):
    """In place of a classifier: the colour is the class, and grey is none."""

    def forward(self, features_BC: Tensor) -> Tensor:
        return 30 * features_BC


@pytest.fixture(scope="session")
def colour_model() -> VideoRecogniser:
    """Sure of the class of a colour; grey is background."""
    calibration = Calibration(background_logit=3.0, min_score=0.3)
    model = VideoRecogniser(tiny_recogniser(), short_side=24, calibration=calibration, training_stride_frames=2.0)
    model.register_module("encoder", ColourFeatures())
    model.register_module("classifier", Tell())
    model.register_parameter("unused", nn.Parameter(torch.zeros(1)))  # tells the device
    return model.eval()


@pytest.fixture(scope="session")
def coloured_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey, but for the colours of two actions."""
    frames = np.full((round(DURATION_SECONDS * FPS), 72, 96, 3), 100, dtype=np.uint8)
    for _, channel, start, end in ACTIONS:
        frames[round(start * FPS) : round(end * FPS), ..., channel] = 220
    path = tmp_path_factory.mktemp("coloured") / "coloured.mp4"
    write_video(path, frames, fps=FPS)
    return path


@pytest.fixture(scope="session")
def app_store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Two videos of each colour, one without a label, and a broken file."""
    root = tmp_path_factory.mktemp("app-source")
    for channel, (name, motion) in enumerate(MOTIONS.items()):
        for number, split in enumerate(("train", "test")):
            frames = square_frames(motion, channel, num_frames=40, seed=10 * channel + number)
            write_video(root / split / name / f"{name}_{number}.mp4", frames)
    write_video(root / "unlabelled" / "unknown.mp4", square_frames((1, 1), 1, num_frames=40, seed=99))
    (root / "train" / "right" / "broken.mp4").write_bytes(b"no video at all")
    path = tmp_path_factory.mktemp("app-store") / "squares"
    prepare(root, path, short_side=40, workers=1)
    return FrameStore(path)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with reports, one without, a secret beside them, and links that lead to it."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "report.html").write_text("secret")
    folder = outside / "runs"
    for name in ("first", "deep/second"):
        (folder / name).mkdir(parents=True)
        (folder / name / "report.html").write_text(f"<h1>{name}</h1><script>alert(1)</script>")
        (folder / name / "config.yaml").write_text("secret: true")
    (folder / "first" / "evaluation.json").write_text('{"accuracy": 0.75}')
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / "metrics.jsonl").write_text("{}")
    (folder / "linked").symlink_to(outside)
    (folder / "linked-page").mkdir()
    (folder / "linked-page" / "report.html").symlink_to(outside / "report.html")
    return folder


@pytest.fixture
def settings(app_store: FrameStore, runs: Path) -> AppSettings:
    return AppSettings(
        store=app_store.path, runs=runs, limits=Limits(upload_bytes=2_000_000, duration_seconds=20, stall_seconds=2)
    )


@pytest.fixture
def client(colour_model: VideoRecogniser, settings: AppSettings, tmp_path: Path) -> Iterator[TestClient]:
    """The page with everything, at its own address."""
    (tmp_path / "work").mkdir()
    app = create_app(colour_model, settings, tmp_path / "work")
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as opened:
        yield opened
