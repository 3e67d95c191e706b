"""The command that writes models for other programs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sparsedense.cli.output import print_json
from sparsedense.cli.parser import parse_function


def export(arguments: Sequence[str]) -> None:
    """Write a model as ONNX, or as a program of torch.export."""

    def command(model: Path, format: str = "onnx", out: Path | None = None, json: bool = False) -> None:
        """Write a model for other programs; it is compared with the model, and not written if it computes otherwise.

        Args:
            model: `model.safetensors` of a run.
            format: `onnx`, for ONNX Runtime, OpenVINO and many more, or `torch-export`, for PyTorch.
            out: file to write, ending with .onnx or .pt2; beside the model if not given.
            json: print one JSON object and nothing else.
        """
        from sparsedense.export.export_model import FORMATS, MOST_DIFFERENCE, export_model

        report = export_model(model, out or model.with_suffix(FORMATS.get(format, "")), export_format=format)
        if json:
            print_json(asdict(report) | {"path": str(report.path), "head": report.head and str(report.head)})
            return
        beside = f" and {report.head.name} with its detection head" if report.head else ""
        print(
            f"{report.path}{beside}: {report.format}, {report.size_bytes / 1e6:.1f} MB; logits and features differ "
            f"from the model's by at most {report.difference:.1e} (allowed {MOST_DIFFERENCE:g}), for batches of 1 and "
            "3 clips"
        )

    command(**parse_function(command, "export", arguments))
