"""The command that shows a model at work on a local web page."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sparsedense.cli.parser import Precision, parse_function
from sparsedense.data.locations import Location

_MEGABYTE = 1_000_000


def app(arguments: Sequence[str]) -> int:
    """Watch a model at work on a local web page."""

    def command(
        model: Path,
        store: Location | None = None,
        runs: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 8321,
        max_megabytes: int = 2000,
        max_minutes: float = 120.0,
        effort: float | None = None,
        stride_frames: float | None = None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> int:
        """Show a page on which to drop videos, see what happens in them when, browse a store and read reports.

        Args:
            model: `model.safetensors` of a run.
            store: folder that `sparsedense prepare` made, or its URL.
            runs: folder below which runs with reports lie.
            host: address to listen at; with any but this computer's own, everybody who reaches it can use the page.
            port: where to listen; 0 takes a free one.
            max_megabytes: largest upload.
            max_minutes: longest video.
            effort: of `detect`, from 0 to 1.
            stride_frames: of `detect`, for models that do not tell theirs.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in.
        """
        try:
            from sparsedense.app.server import AppSettings, cache_folder, serve
        except ModuleNotFoundError as error:
            needed = "pip install 'sparsedense[app]'"
            raise ValueError(f"the page needs {error.name}, which is not installed: {needed}") from error
        from sparsedense.app.limits import Limits
        from sparsedense.detection.scan import DEFAULT_EFFORT
        from sparsedense.prediction.long_videos import DetectionSettings
        from sparsedense.prediction.video_recogniser import load_model

        settings = AppSettings(
            store=store,
            runs=runs,
            host=host,
            limits=Limits(upload_bytes=max_megabytes * _MEGABYTE, duration_seconds=max_minutes * 60),
            detection=DetectionSettings(
                effort=DEFAULT_EFFORT if effort is None else effort, stride_frames=stride_frames
            ),
            cache=cache_folder(),
        )
        with suppress(KeyboardInterrupt):  # the usual end
            serve(load_model(model, device=device, precision=precision), settings, port=port)
        return 0

    return command(
        **parse_function(
            command,
            "app",
            arguments,
            optional=("store", "folder that `sparsedense prepare` made, or its URL, to browse"),
        )
    )
