"""The command that measures speed on the user's machine and store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sparsedense.cli.parser import parse_function


def bench(arguments: Sequence[str]) -> None:
    """Measure how fast a store is read, stage by stage, beside what the machine can do at best."""

    def command(
        what: Literal["data"],
        store: Path,
        workers: list[int] = [0, 1, 2],  # noqa: B006 (never changed; jsonargparse shows it in the help)
        rounds: int = 10,
        batch_size: int = 8,
        clip_length: int = 16,
        size: int = 112,
        device: str = "cpu",
        json: bool = False,
    ) -> None:
        """Measure clips a second: read, decode, crop, collate and augment alone, and the whole loader.

        The limit is the JPEG decoder alone for a store of JPEG frames, and one copy of the pixels for a raw one.

        Args:
            what: what to measure: `data`.
            store: folder that `prepare` made.
            workers: numbers of loader processes to try, as in `0,1,2`.
            rounds: batches that each number is the median of.
            batch_size: videos of a batch.
            clip_length: frames of a clip.
            size: height and width of a clip in pixels.
            device: where batches are augmented, `cpu` or `cuda`.
            json: print one JSON document instead of a table.
        """
        from sparsedense.cli.loading_table import print_loading
        from sparsedense.cli.output import print_json
        from sparsedense.data.clip_config import ClipConfig
        from sparsedense.data.loading_speed import measure_loading
        from sparsedense.data.store import FrameStore

        speed = measure_loading(
            FrameStore(store),
            clips=ClipConfig(length=clip_length, size=size),
            workers=workers,
            batch_size=batch_size,
            rounds=rounds,
            device=device,
        )
        if json:
            print_json(speed.to_dict())
        else:
            print_loading(speed)

    command(**parse_function(command, "bench", arguments))
