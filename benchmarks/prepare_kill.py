"""Whether prepare, killed again and again, ends with the same store, byte for byte.

    python benchmarks/prepare_kill.py [--videos 500] [--kills 3] [--workers 2] [--seed 0] [--json OUT]

One uninterrupted run is timed. Then the same command is started and killed by `kill -9` (the parent only; its workers
must end by themselves), each time when a random number of further videos is finished, and at last it runs to its end.
The stores must have the same files with the same bytes, and nothing may be left beside them.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.video import sample_videos as samples  # noqa: E402 (the path comes first)


def command(root: Path, out: Path, workers: int) -> list[str]:
    """The command line of a run."""
    main = "import sys; from sparsedense.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["prepare", str(root / "source"), "--out", str(out), "--workers", str(workers), "--codec", "jpeg"]
    return [sys.executable, "-c", main, *arguments]


def finish(call: list[str]) -> float:
    """Run to the end; returns seconds."""
    start = time.perf_counter()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def kill_when(call: list[str], partial: Path, num_videos: int) -> int:
    """Start, and kill when so many videos are finished; returns how many were, or -1 where the run was quicker."""
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None:
            if (count := finished(partial)) >= num_videos:
                run.send_signal(signal.SIGKILL)
                return count
            time.sleep(0.01)
    return -1


def finished(partial: Path) -> int:
    """Videos of an unfinished store that need not be decoded again: in the journal, or a part with its result."""
    work = partial / "work"
    try:
        journal = [json.loads(line)["row"]["video_id"] for line in (work / "journal.jsonl").open() if line[-1] == "\n"]
    except FileNotFoundError:
        journal = []
    parts = [int(path.name.split(".")[0]) for path in work.glob("parts/*.json")]
    return len({*journal, *parts})


def files_of(store: Path) -> dict[str, str]:
    """Hash of every file of a store."""
    paths = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def measure(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Uninterrupted, then killed."""
    for number in range(arguments.videos):
        path = root / "source" / f"class{number % 10}" / f"{number:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(path, 10 + number % 35, height=96, width=128)
    whole = finish(command(root, root / "whole", arguments.workers))
    killed = command(root, root / "killed", arguments.workers)
    rng = np.random.default_rng(arguments.seed)
    done: list[int] = []
    for wanted in sorted(rng.integers(1, arguments.videos, arguments.kills).tolist()):
        done.append(kill_when(killed, root / ".killed.partial", wanted))
    last = finish(killed)
    same = files_of(root / "whole") == files_of(root / "killed")
    left = sorted(path.name for path in root.iterdir() if path.name not in ("source", "whole", "killed"))
    return {
        "videos": arguments.videos,
        "seconds uninterrupted": round(whole, 1),
        "videos finished at each kill": done,
        "seconds of the last run": round(last, 1),
        "same store": same,
        "left beside the store": left,
    }


def main() -> int:
    """Run once; returns 1 where the stores differ, something is left behind, or a run was too quick to be killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    for name, value in result.items():
        print(f"{name}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    killed = -1 not in result["videos finished at each kill"]
    return 0 if killed and result["same store"] and not result["left beside the store"] else 1


if __name__ == "__main__":
    sys.exit(main())
