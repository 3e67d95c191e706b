"""How long one waits for the first answer of `sparsedense predict`, from the start of the program.

A tiny model and a clip of 2 seconds, so what is measured is the start: Python, the imports, most of all torch's.

    python benchmarks/first_prediction.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sparsedense.data.clip_config import ClipConfig
from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.video.write import write_video


def seconds_of(command: list[str]) -> float:
    """Wall-clock time of a program."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        model, clip = Path(folder) / "model.safetensors", Path(folder) / "clip.mp4"
        config = EncoderConfig(depth=10, width=0.125)
        clips = asdict(ClipConfig(length=8, size=32))
        save_model(model, build_recogniser(config, ("jump", "run", "sit"), clips=clips), provenance={})
        write_video(clip, np.random.default_rng(0).integers(0, 256, (50, 120, 160, 3), dtype=np.uint8))
        predict = ["-m", "sparsedense", "predict", str(model), str(clip)]
        seconds_of(predict)  # compiles the byte code and fills the disk's cache
        for name, command in (("import torch", ["-c", "import torch"]), ("predict", predict)):
            times = sorted(seconds_of(command) for _ in range(runs))
            print(f"{name:14} median {times[len(times) // 2]:.2f} s   ({', '.join(f'{value:.2f}' for value in times)})")


if __name__ == "__main__":
    main()
