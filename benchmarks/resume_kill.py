"""Whether trainings that are killed again and again, and go on, end as the uninterrupted ones: bit by bit.

    python benchmarks/resume_kill.py [--kills 5] [--phases pretrain,finetune,train] [--workers 1]
                                     [--precision auto] [--json OUT]
    python benchmarks/resume_kill.py --kills 1 --phases finetune                       # to try it

For each phase the real command runs once from start to end. Then it runs again, gets `kill -9` at a random step, goes
on with `--resume auto`, and so on; at last it runs to its end. Weights and `metrics.jsonl` (but the timings) must be
equal, and it is told what checkpoints cost.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from sparsedense.actors.dataset import make_actors  # noqa: E402 (the path comes first)
from sparsedense.data.prepare import prepare  # noqa: E402
from sparsedense.training.checkpoint_files import STATE, list_checkpoints  # noqa: E402

TIMING = ("clips_per_second", "data_wait")
EPOCHS = {"pretrain": 3, "finetune": 4, "train": 6}
STEPS = 8
SETTINGS = [
    "--recipe=sparsedense+small", "--model.width=0.0625", "--model.depth=10", "--clips.size=24",
    "--objective.dropout=0.3", "--objective.contrast.queue_size=32", "--objective.contrast.use_teacher=true",
    "--machine.accelerator=cpu", "--machine.checkpoint_steps=3",
]  # fmt: skip


def command(phase: str, store: Path, out: Path, machine: list[str]) -> list[str]:
    """The command line of a training; it goes on where there is a checkpoint."""
    main = "import sys; from sparsedense.cli import main; sys.exit(main(sys.argv[1:]))"
    own = [f"--{phase}.epochs={EPOCHS[phase]}", f"--{phase}.batch_size=6", f"--{phase}.steps_per_epoch={STEPS}"]
    told = ["--out", str(out), *SETTINGS, *own, *machine, "--resume=auto"]
    return [sys.executable, "-c", main, phase, str(store), *told]


def newest_step(out: Path) -> int:
    """Step of the newest checkpoint, 0 where there is none."""
    files = list_checkpoints(out / "checkpoints", STATE)
    return files[0].number if files else 0


def kill_after(call: list[str], out: Path, step: int, rng: np.random.Generator) -> int:
    """Run, and kill a moment after a step's checkpoint is there; returns the step of the newest, -1 for too late."""
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None:
            if newest_step(out) >= step:
                time.sleep(rng.uniform(0, 0.3))  # in the middle of whatever it does then
                run.send_signal(signal.SIGKILL)
                run.wait()
                return newest_step(out)
            time.sleep(0.02)
    return -1


def metrics(run: Path) -> list[dict[str, Any]]:
    """What the metrics file says, without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING} for line in lines]


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model files hold the same bits."""
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def measure(phase: str, root: Path, kills: int, machine: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Uninterrupted, then killed."""
    store, whole, killed = root / "store", root / phase / "whole", root / phase / "killed"
    started = time.perf_counter()
    subprocess.run(command(phase, store, whole, machine), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    steps = newest_step(whole)
    call = command(phase, store, killed, machine)
    wanted = sorted(rng.integers(1, steps - STEPS, kills).tolist())
    reached = [kill_after(call, killed, step, rng) for step in wanted]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    return {
        "steps": steps,
        "seconds uninterrupted": round(seconds, 1),
        "newest checkpoint at each kill": reached,
        "same weights": same_weights(whole, killed),
        "same metrics": metrics(whole) == metrics(killed),
        "checkpoints": json.loads((whole / "environment.json").read_text())["checkpoints"],
    }


def main() -> int:
    """Run; returns 1 where anything differs, or a run ended before it could be killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--phases", default=",".join(EPOCHS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    machine = [f"--machine.num_workers={arguments.workers}", f"--machine.precision={arguments.precision}"]
    rng, results, passed = np.random.default_rng(arguments.seed), dict[str, Any](), True
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_actors(root / "actors", train_per_class=4, val_per_class=1, test_per_class=0, unlabelled=10, workers=2)
        prepare(root / "actors", root / "store", short_side=32)
        for phase in arguments.phases.split(","):
            found = measure(phase, root, arguments.kills, machine, rng)
            killed = -1 not in found["newest checkpoint at each kill"]
            passed &= killed and found["same weights"] and found["same metrics"]
            results[phase] = found
            print(phase, json.dumps(found), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    print("all equal" if passed else "DIFFERENT, or not killed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
