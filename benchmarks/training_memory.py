"""Whether a training's memory grows with its steps: after 2,000 against after 100, in one process.

    python benchmarks/training_memory.py [--steps 2000] [--epochs 4] [--checkpoint-steps 100] [--json OUT]
    python benchmarks/training_memory.py --steps 200 --epochs 2                         # to try it

A tiny network learns by all that keeps something from step to step (teacher, queue, means, checkpoints). The memory is
anonymous: mapped pages of the store, which the system takes back when it needs them, do not count. It is the median of
the ten steps before each look, so that one batch more or less in flight does not matter.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from footage import film

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data.process_memory import anonymous_mb  # noqa: E402 (the path comes first)

from sparsedense.config import load_experiment  # noqa: E402
from sparsedense.data.prepare import prepare  # noqa: E402
from sparsedense.training import run as training_run  # noqa: E402

FIRST, MOST_GROWTH, AROUND = 100, 1.02, 10


class Memory(Callback):
    """Notes the memory after each step."""

    def __init__(self) -> None:
        self.by_step: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Note it; garbage is collected where a look is near."""
        self.by_step.append(anonymous_mb())

    def after(self, step: int) -> float:
        """Median of the steps up to this one, in MB."""
        return statistics.median(self.by_step[max(0, step - AROUND) : step])


def measure(store: Path, out: Path, *, steps: int, epochs: int, checkpoint_steps: int) -> Memory:
    """Pretrain, noting the memory."""
    memory, watching = Memory(), training_run._watching

    def with_memory(*arguments: Any, **options: Any) -> list[Callback]:
        return [*watching(*arguments, **options), memory]

    experiment = load_experiment(
        "sparsedense+small",
        model={"width": 0.0625, "depth": 10},
        clips={"size": 16, "length": 8, "min_dense_stride_frames": 1.0},
        objective={"contrast": {"queue_size": 256, "use_teacher": True}},
        pretrain={"epochs": epochs, "steps_per_epoch": steps // epochs, "batch_size": 4},
        machine={"accelerator": "cpu", "num_workers": 0, "checkpoint_steps": checkpoint_steps},
    )
    training_run._watching = with_memory
    training_run.pretrain(store, out, experiment, progress=False)
    return memory


def main() -> int:
    """Measure, print, and return 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--checkpoint-steps", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        film(Path(folder) / "videos", videos=8, frames=80, height=48, width=64)
        prepare(Path(folder) / "videos", Path(folder) / "store", short_side=32, workers=0, test_fraction=0)
        memory = measure(
            Path(folder) / "store",
            Path(folder) / "run",
            steps=arguments.steps,
            epochs=arguments.epochs,
            checkpoint_steps=arguments.checkpoint_steps,
        )
    first, last = memory.after(FIRST), memory.after(arguments.steps)
    result = {"steps": arguments.steps, f"mb after {FIRST}": first, "mb at the end": last, "ratio": last / first}
    result["mb after every tenth"] = [memory.after(arguments.steps * part // 10) for part in range(1, 11)]
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"limit {MOST_GROWTH} x: {'met' if last / first <= MOST_GROWTH else 'EXCEEDED'}")
    return 0 if last / first <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
