"""What the features of a model depend on, as one short text: another model gives another text."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from sparsedense.prediction.video_recogniser import VideoRecogniser


def feature_fingerprint(model: VideoRecogniser) -> str:
    """SHA-256 of the encoder's configuration and weights, of the clips and of the size of frames.

    Not of the file: a new classifier or calibration leaves the features, and so an index, as they were.
    """
    settings = {"encoder": asdict(model.encoder.config), "clips": model.clips, "short_side": model.short_side}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(model.encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def store_fingerprint(store: Path) -> str:
    """SHA-256 of a store's manifest: other videos, or the same ones in another order, give another text."""
    with (store / "manifest.parquet").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
