"""One file a model: weights as safetensors, and in its header all that is needed to use them.

The header holds strings only, so each entry is JSON. Nothing is pickled: a model file cannot run code.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.recogniser import Recogniser, build_recogniser

FORMAT_KEY = "sparsedense_model"  # its presence says that sparsedense wrote the file; its value is the format version
FORMAT_VERSION = 1
MODEL_NAME = "model.safetensors"  # in the folder of a run
_MADE_FOR_KEY = "calibration_made_for"
_SCAN = 2  # which way to scan a calibration was fitted to: 1 knew whole clips only, 2 their quarters
_PARTS_KEY = "parts"  # what was added to the model, such as a detection head: its description by name


class ModelFileError(ValueError):
    """A model file that is missing, foreign, newer than this version or inconsistent; the message names it."""


def save_model(
    path: str | Path,
    model: Recogniser,
    *,
    provenance: Mapping[str, object],
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model, completely or not at all.

    Args:
        path: file to write, usually `*.safetensors`; folders above it are made.
        model: weights, configuration, class names and clips are taken from it.
        provenance: what made the model (versions, data, command, numbers); anything JSON can hold.
        state: its weights, where they are not those that it holds now.

    Raises:
        TypeError: the provenance holds something that JSON cannot.
    """
    path = Path(path)
    metadata = {key: json.dumps(value) for key, value in _description(model).items()}
    metadata["provenance"] = json.dumps(dict(provenance))
    weights = model.state_dict() if state is None else state
    _write(path, {name: value.detach().cpu().contiguous() for name, value in weights.items()}, metadata)


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Recogniser:
    """Read a model written by `save_model`; nothing else is needed. It is in evaluation mode.

    Args:
        path: the model file.
        device: where to put the weights.

    Raises:
        ModelFileError: the file is missing, is no safetensors file, was not written by sparsedense, or its weights do
            not fit its configuration.
    """
    path = Path(path)
    metadata = _read_metadata(path)
    own = _without_parts(_read_weights(path), metadata)
    try:
        heads = metadata["heads"]
        model = build_recogniser(
            EncoderConfig(**metadata["encoder"]),
            metadata["class_names"],
            clips=metadata["clips"],
            speed_head=heads["num_speeds"] > 0,
            num_speeds=heads["num_speeds"] or 2,
            dropout=heads["dropout"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: its header does not describe a model ({error}); write it again") from error
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise ModelFileError(f"{path}: its weights do not fit its own configuration: {error}") from error
    return model.to(device).eval()


def read_provenance(path: str | Path) -> dict[str, object]:
    """What made a model, without reading its weights.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
    """
    path = Path(path)
    provenance = _read_metadata(path).get("provenance")
    if not isinstance(provenance, dict):
        raise ModelFileError(f"{path}: its header has no provenance; write it again with this version of sparsedense")
    return provenance


def save_calibration(path: str | Path, calibration: Mapping[str, object]) -> None:
    """Put a calibration into the header of a model file, in place of the one in it; the rest stays as it is.

    Args:
        path: the model file, which is replaced completely or not at all.
        calibration: anything JSON can hold.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
        TypeError: the calibration holds something that JSON cannot.
    """
    path = Path(path)
    decoded, weights = _read_metadata(path), _read_weights(path)
    decoded["calibration"] = dict(calibration)
    decoded[_MADE_FOR_KEY] = {"scan": _SCAN, "weights": _fingerprint(_without_parts(weights, decoded))}
    _write(path, weights, {key: json.dumps(value) for key, value in decoded.items()})


def read_calibration(path: str | Path) -> dict[str, Any] | None:
    """The calibration in the header of a model file; None where there is none.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
    """
    calibration: dict[str, Any] | None = _read_metadata(Path(path)).get("calibration")
    return calibration


def calibration_problem(path: str | Path) -> str | None:
    """Why the calibration in a model file is not one of the model as it is now; None where it is, or there is none.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
    """
    path = Path(path)
    metadata = _read_metadata(path)
    if "calibration" not in metadata:
        return None
    made_for = metadata.get(_MADE_FOR_KEY) or {}
    if made_for.get("scan") != _SCAN:
        return "its calibration was made by an earlier version, which scanned videos in another way"
    if made_for.get("weights") != _fingerprint(_without_parts(_read_weights(path), metadata)):
        return "its calibration was made for other weights than those in the file"
    return None


@dataclass(frozen=True)
class ModelPart:
    """What was added to a model after its training.

    Attributes:
        description: anything JSON can hold.
        weights: by their names within the part.
    """

    description: dict[str, Any]
    weights: dict[str, torch.Tensor]


def save_part(
    path: str | Path, name: str, description: Mapping[str, object], weights: Mapping[str, torch.Tensor]
) -> None:
    """Put a part, such as a detection head, into a model file, in place of one of this name; the rest stays as it is.

    Args:
        path: the model file, which is replaced completely or not at all.
        name: of the part, without a dot.
        description: anything JSON can hold.
        weights: by name.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
        TypeError: the description holds something that JSON cannot.
    """
    path = Path(path)
    decoded = _read_metadata(path)
    decoded[_PARTS_KEY] = {**decoded.get(_PARTS_KEY, {}), name: dict(description)}
    kept = {key: value for key, value in _read_weights(path).items() if not key.startswith(f"{name}.")}
    added = {f"{name}.{key}": value.detach().cpu().contiguous() for key, value in weights.items()}
    _write(path, {**kept, **added}, {key: json.dumps(value) for key, value in decoded.items()})


def read_part(path: str | Path, name: str) -> ModelPart | None:
    """A part of a model file; None where there is none of this name.

    Raises:
        ModelFileError: the file is missing or was not written by sparsedense.
    """
    path = Path(path)
    description = _read_metadata(path).get(_PARTS_KEY, {}).get(name)
    if description is None:
        return None
    weights = _read_weights(path)
    own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    return ModelPart(description, own)


def _without_parts(weights: dict[str, torch.Tensor], metadata: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    parts = tuple(f"{name}." for name in metadata.get(_PARTS_KEY, {}))
    return {key: value for key, value in weights.items() if not key.startswith(parts)} if parts else weights


def _fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of weights with their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _write(path: Path, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(dict(weights), temporary, dict(metadata))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)


def _description(model: Recogniser) -> dict[str, object]:
    return {
        FORMAT_KEY: FORMAT_VERSION,
        "encoder": asdict(model.encoder.config),
        "heads": {
            "num_speeds": 0 if model.speed_head is None else model.speed_head.num_speeds,
            "dropout": 0.0 if model.classifier is None else model.classifier.dropout.p,
        },
        "class_names": list(model.class_names),
        "clips": model.clips,
    }


def _read_metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        inside = path / MODEL_NAME
        written = f"`sparsedense pretrain` and `finetune` write {MODEL_NAME}"
        hint = f"did you mean {inside}?" if inside.is_file() else written
        raise ModelFileError(f"{path}: no such model file; {hint}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path}: not a safetensors file ({error}); give the model.safetensors of a run"
        ) from error
    if FORMAT_KEY not in metadata:
        raise ModelFileError(
            f"{path}: a safetensors file, but not one of sparsedense; give the model.safetensors of a run"
        )
    try:
        decoded = {key: json.loads(value) for key, value in metadata.items()}
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{path}: its header is damaged ({error})") from error
    if decoded[FORMAT_KEY] != FORMAT_VERSION:
        version = decoded[FORMAT_KEY]
        raise ModelFileError(f"{path}: model format {version}, this version reads {FORMAT_VERSION}; update sparsedense")
    return decoded
