"""The command that trains a detection head: `finetune --task detection`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsedense.cli.detection import head_calibration_line
from sparsedense.cli.output import print_json
from sparsedense.cli.parser import parse_function

if TYPE_CHECKING:
    from sparsedense.progress import Advance
    from sparsedense.training.detection import DetectionRun

_ENCODER, _FEATURES, _HEAD = "epochs of the encoder", "features of the videos", "epochs of the head"


def finetune_detection(arguments: Sequence[str]) -> None:
    """Train a learned head on annotated long videos: `sparsedense finetune --task detection`."""

    def command(
        videos: Path,
        init: Path | None = None,
        *,
        out: Path = Path("runs") / "detection",
        annotations: Path | None = None,
        epochs: int = 60,
        encoder_epochs: int = 0,
        encoder_learning_rate: float = 1e-3,
        seed: int = 0,
        batch_size: int = 4,
        learning_rate: float = 1e-3,
        channels: int = 96,
        stride_frames: float | None = None,
        num_scales: int | None = None,
        fps: float | None = None,
        clips_batch_size: int = 16,
        features: Path | None = None,
        device: str = "auto",
        overwrite: bool = False,
        json: bool = False,
    ) -> None:
        """Train a temporal head on the features of a model (with --task detection).

        The model stays as it is, or its encoder is fine-tuned first (--encoder-epochs 4), which takes longer and finds
        more; then it finds actions without the head, too (`detect --method window`).

        The epoch is chosen, and the scores are calibrated, by the videos that the annotations call validation; without
        any, the last epoch is taken and the scores stay as they are.

        Args:
            videos: folder of the videos, named by their ids.
            init: model file whose encoder makes the features; needed.
            out: the run's folder.
            annotations: file in the format of ActivityNet; `annotations.json` in the folder if not given.
            epochs: how often the head sees all videos.
            encoder_epochs: how often all videos are read to fine-tune the encoder before; 0 leaves it as it is.
            encoder_learning_rate: of that, after a warm-up.
            seed: of everything random.
            batch_size: windows of features that go through the head at a time.
            learning_rate: after the warm-up.
            channels: width of the head.
            stride_frames: of the finest clips, in frames; that of the calibration, or half of the training's, if not
                given.
            num_scales: of clips, each of twice the stride of the one before; that of the calibration, or 3, if not
                given.
            fps: frame rate, for videos that do not tell it.
            clips_batch_size: clips that go through the encoder at a time.
            features: folder to keep features in, which several runs may share; `features` in the run's folder if not
                given.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            overwrite: delete the run that is in the folder.
            json: print one JSON object and nothing else.
        """
        from sparsedense.prediction.long_videos import DetectionSettings
        from sparsedense.progress import progress_bar
        from sparsedense.training.detection import finetune_detection as finetune
        from sparsedense.training.detection_encoder import EncoderTraining
        from sparsedense.training.detection_head import HeadTraining

        if init is None:
            raise ValueError("a detection head learns from the features of a model; give its file (--init)")
        training = HeadTraining(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, channels=channels, seed=seed
        )
        encoder_training = None
        if encoder_epochs:
            encoder_training = EncoderTraining(epochs=encoder_epochs, learning_rate=encoder_learning_rate, seed=seed)
        settings = DetectionSettings(
            stride_frames=stride_frames, num_scales=num_scales, fps=fps, batch_size=clips_batch_size
        )
        doing = _Doing(_ENCODER if encoder_epochs else _FEATURES)
        with progress_bar("finetune", note=lambda: doing.now) as advance:
            run = finetune(
                videos,
                out,
                init=init,
                annotations=annotations,
                training=training,
                encoder_training=encoder_training,
                settings=settings,
                features=features,
                device=device,
                overwrite=overwrite,
                encoding=doing.while_encoding(advance),
                epochs=doing.while_training(advance),
            )
        if json:
            print_json(run.record())
        else:
            _print_detection_run(run)

    command(**parse_function(command, "finetune --task detection", arguments))


@dataclass
class _Doing:
    """Which part of the work a progress bar shows: the encoder, then the features, then the head."""

    now: str

    def while_encoding(self, advance: "Advance") -> "Advance":
        """The progress of the features."""

        def encoding(done: int, total: int) -> None:
            self.now = _FEATURES
            advance(done, total)

        return encoding

    def while_training(self, advance: "Advance") -> "Advance":
        """The progress of epochs; those after the features are the head's."""

        def epoch_done(done: int, total: int) -> None:
            if self.now == _FEATURES:
                self.now = _HEAD
            advance(done, total)

        return epoch_done


def _print_detection_run(run: "DetectionRun") -> None:
    print(
        f"{run.train_videos} training and {run.val_videos} validation videos, {len(run.class_names)} classes, "
        f"{run.seconds:.0f} s; kept: epoch {run.best_epoch}"
    )
    if run.val_map is not None:
        print(f"validation: average mAP 0.3-0.7 {run.val_map:.1%} with every clip")
    if run.calibration is not None:
        print(head_calibration_line(run.calibration))
    print(f"model: {run.model}; next, `sparsedense evaluate {run.model} VIDEOS --task detection`")
