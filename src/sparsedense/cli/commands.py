"""The command line: one thin function a command, in the order in which one needs them.

Each imports what it calls when it runs, so that help is quick.
"""

import difflib
import os
import sys
from collections.abc import Callable, Sequence

from sparsedense import __version__
from sparsedense.cli import (
    app,
    bench,
    data,
    detection,
    evidence,
    export,
    prediction,
    retrieval,
    slurm,
    training,
    tuning,
)
from sparsedense.processes import is_main_process, leave_launch

COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "demo": evidence.demo,
    "actors": data.actors,
    "datasets": data.datasets,
    "prepare": data.prepare,
    "merge": data.merge,
    "inspect": data.inspect,
    "bench": bench.bench,
    "tune": tuning.tune,
    "recipes": training.recipes,
    "pretrain": training.pretrain,
    "probe": evidence.probe,
    "finetune": training.finetune,
    "train": training.train,
    "slurm": slurm.slurm,
    "evaluate": evidence.evaluate,
    "predict": prediction.predict,
    "detect": detection.detect,
    "calibrate": detection.calibrate,
    "embed": prediction.embed,
    "index": retrieval.index,
    "retrieve": retrieval.retrieve,
    "export": export.export,
    "compare": evidence.compare,
    "report": evidence.report,
    "app": app.app,
}

TRAINS_TOGETHER = ("pretrain", "finetune", "train")  # what several processes do together; all else is done by one


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if given[0] == "--version":
        print(f"sparsedense {__version__}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "see `sparsedense --help`"
        print(f"error: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    if name not in TRAINS_TOGETHER:
        if not is_main_process():
            return 0  # one process does it; the others of torchrun or srun have nothing to do
        leave_launch()
    try:
        status = COMMANDS[name](rest)
    except KeyboardInterrupt:
        resumes = name in (*TRAINS_TOGETHER, "demo")
        hint = "; the same command with --resume goes on" if resumes else ""
        print(f"\ninterrupted{hint}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:  # what the user can mend; anything else is a fault of ours, shown in full
        if os.environ.get("SPARSEDENSE_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status or 0


def _overview() -> str:
    lines = ["usage: sparsedense COMMAND ...", "", "Action recognisers from mostly unlabelled video.", ""]
    lines += [f"  {name:10} {(run.__doc__ or '').splitlines()[0]}" for name, run in COMMANDS.items()]
    return "\n".join([*lines, "", "`sparsedense COMMAND --help` explains a command."])
