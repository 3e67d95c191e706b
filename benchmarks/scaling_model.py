"""Predicts clips per second on 1 to 64 GPUs, and hours for whole data sets, from numbers measured on one device.

    sparsedense bench train RECIPE --json > step.json
    sparsedense bench data STORE --json > data.json
    python benchmarks/scaling_model.py --step step.json --data data.json [--processes FILE ...] [--write PAGE.md]

A step of W devices takes as long as its slowest supply:

    network     seconds of the measured step without its wait for data: every device does its own share
    all-reduce  a ring sends 2 (W - 1) / W of the gradient's bytes through each link, and 2 (W - 1) messages wait one
                after the other; DDP hides the part that fits behind the backward pass
    data        clips of a step over what the cores of a node decode, at most `share_of_limit` of the decoder's rate

    step(W) = max(network + max(0, all-reduce - hidden), data)        clips/s = W * clips a step / step(W)

With `--processes` (files of benchmarks/processes.py, one thread a process) the measured rates stand beside the
predicted ones: as many times the rate of one process with its share of the batch, alone on the machine, as there are
processes, or cores where those are fewer. `--data`, `--processes` and `--write` may be left out.
"""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEVICES = (1, 2, 4, 8, 16, 32, 64)
EPOCHS = 100
# Published numbers of videos; two clips of each go through the network in an epoch.
VIDEOS = {"UCF101": 9_537, "Kinetics-400": 240_000, "100 million videos": 100_000_000}
BEGIN, END = "<!-- scaling table: begin -->", "<!-- scaling table: end -->"


@dataclass(frozen=True)
class Cluster:
    """What is assumed of the machines.

    Attributes:
        per_node: devices of a node.
        cores_per_device: cores that load clips for one device.
        node_bytes_per_second: of the links between the devices of a node.
        network_bytes_per_second: of a node's link to the other nodes.
        latency_seconds: of one message between nodes.
    """

    per_node: int = 8
    cores_per_device: int = 8
    node_bytes_per_second: float = 200e9
    network_bytes_per_second: float = 25e9
    latency_seconds: float = 20e-6


@dataclass(frozen=True)
class Measured:
    """What was measured on one device.

    Attributes:
        network_seconds: of a step without the wait for data.
        backward_seconds: of the network's backward pass, behind which the all-reduce hides.
        clips: of a step.
        gradient_bytes: of the trained weights in float32.
        decoded_per_core: clips a second that one core of the loader gives; None where nothing is said about data.
    """

    network_seconds: float
    backward_seconds: float
    clips: int
    gradient_bytes: int
    decoded_per_core: float | None = None


def read_measured(step: dict[str, Any], data: dict[str, Any] | None) -> Measured:
    """From the JSON of `bench train` and of `bench data`."""
    ours = step["ours"]
    parts = ours["parts"]
    decoded = None
    if data is not None:
        # One worker's rate; without one, that of the loader in the training process.
        loader = data["loader"]
        decoded = loader.get("1", loader.get("0"))
    return Measured(
        network_seconds=ours["seconds"] - parts["data wait"],
        backward_seconds=parts["backward"],
        clips=ours["about"]["clips_per_step"],
        gradient_bytes=4 * ours["about"]["parameters"],
        decoded_per_core=decoded,
    )


def all_reduce_seconds(devices: int, gradient_bytes: int, cluster: Cluster) -> float:
    """Of a ring over all devices; the slowest link decides."""
    if devices == 1:
        return 0.0
    across = devices > cluster.per_node
    rate = cluster.network_bytes_per_second if across else cluster.node_bytes_per_second
    return 2 * (devices - 1) / devices * gradient_bytes / rate + 2 * (devices - 1) * cluster.latency_seconds


def step_parts(devices: int, measured: Measured, cluster: Cluster) -> dict[str, float]:
    """Seconds of a step by what supplies it: network, shown all-reduce, data."""
    shown = max(0.0, all_reduce_seconds(devices, measured.gradient_bytes, cluster) - measured.backward_seconds)
    data = 0.0
    if measured.decoded_per_core is not None:
        data = measured.clips / (measured.decoded_per_core * cluster.cores_per_device)
    return {"network": measured.network_seconds, "all-reduce": shown, "data": data}


def clips_per_second(devices: int, measured: Measured, cluster: Cluster) -> float:
    """Of all devices together."""
    parts = step_parts(devices, measured, cluster)
    return devices * measured.clips / max(parts["network"] + parts["all-reduce"], parts["data"])


def limit(devices: int, measured: Measured, cluster: Cluster) -> str:
    """What holds the step up the longest."""
    parts = step_parts(devices, measured, cluster)
    return max(parts, key=lambda name: parts[name])


def table(measured: Measured, cluster: Cluster) -> list[str]:
    """Markdown: a row a number of devices."""
    head = ["devices", "clips/s", "of perfect", "limit", *(f"hours, {name}" for name in VIDEOS)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    alone = clips_per_second(1, measured, cluster)
    for devices in DEVICES:
        rate = clips_per_second(devices, measured, cluster)
        hours = [f"{2 * videos * EPOCHS / rate / 3600:,.1f}" for videos in VIDEOS.values()]
        row = [str(devices), f"{rate:,.1f}", f"{rate / devices / alone:.0%}", limit(devices, measured, cluster), *hours]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def check(runs: list[dict[str, Any]], measured: Measured, cluster: Cluster) -> list[str]:
    """Markdown: what was measured with several processes of this machine beside what the model says of them."""
    if not runs:
        return []
    head = [
        "processes", "cores", "clips/s of one", "of one with its share", "beside each other", "together", "predicted",
        "difference",
    ]  # fmt: skip
    lines = ["", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    alone = clips_per_second(1, measured, cluster)
    for run in sorted(runs, key=lambda run: run["processes"]):
        count, cores = run["processes"], run["cores"]
        ways = ("alone", "share alone", "side by side", "together")
        one, share, beside, together = (run[f"clips_per_second {way}"] for way in ways)
        # One process sets the scale: it was measured with its own share of the cores and of the batch.
        of_perfect = clips_per_second(count, measured, cluster) / (count * alone)
        predicted = share * min(count, cores) * of_perfect
        rates = [f"{rate:,.1f}" for rate in (one, share, beside, together, predicted)]
        lines.append(f"| {count} | {cores} | {' | '.join(rates)} | {together / predicted - 1:+.0%} |")
    return lines


def write_table(path: Path, lines: list[str]) -> None:
    """Put the table between its marks in a document.

    Raises:
        ValueError: the document has no marks.
    """
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path}: has no lines {BEGIN} and {END} to put the table between")
    inside = "\n".join([BEGIN, "", *lines, "", END])
    path.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: inside, text, flags=re.DOTALL))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=Path, required=True, help="JSON of `sparsedense bench train`")
    parser.add_argument("--data", type=Path, help="JSON of `sparsedense bench data`")
    parser.add_argument("--processes", type=Path, nargs="*", default=[], help="JSON of benchmarks/processes.py")
    parser.add_argument("--write", type=Path, help="document whose table to replace")
    for name, kind in Cluster.__annotations__.items():
        flag, default = f"--{name.replace('_', '-')}", getattr(Cluster, name)
        parser.add_argument(flag, type=kind, default=default, help=f"of the cluster; {default:g}")
    parser.add_argument("--json", type=Path, help="write the prediction here")
    return parser.parse_args()


def main() -> None:
    """Predict, print, write."""
    arguments = parse_arguments()
    data = None if arguments.data is None else json.loads(arguments.data.read_text())
    measured = read_measured(json.loads(arguments.step.read_text()), data)
    cluster = Cluster(**{name: getattr(arguments, name) for name in Cluster.__annotations__})
    runs = [json.loads(path.read_text()) for path in arguments.processes]
    lines = [*table(measured, cluster), *check(runs, measured, cluster)]
    print("\n".join(lines))
    if arguments.write:
        write_table(arguments.write, lines)
    if arguments.json:
        rates = {devices: clips_per_second(devices, measured, cluster) for devices in DEVICES}
        arguments.json.write_text(json.dumps({"clips_per_second": rates}, indent=2) + "\n")


if __name__ == "__main__":
    main()
