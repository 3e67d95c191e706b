"""Two machines, as far as one can be two: network namespaces, each with an address of its own, joined by a cable."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparsedense.config import save_experiment
from tests.conftest import tiny_experiment

ADDRESSES = ("10.231.77.1", "10.231.77.2")
SECONDS = 600


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("two network namespaces need root and `ip`")
    names = (f"sparsedense-{os.getpid()}-a", f"sparsedense-{os.getpid()}-b")
    cable = (f"sd{os.getpid()}a", f"sd{os.getpid()}b")
    try:
        made = ip("netns", "add", names[0])
        if made.returncode:
            pytest.skip(f"network namespaces are not allowed here: {made.stderr.strip()}")
        commands = [["netns", "add", names[1]], ["link", "add", cable[0], "type", "veth", "peer", "name", cable[1]]]
        for name, end, address in zip(names, cable, ADDRESSES, strict=True):
            commands += [
                ["link", "set", end, "netns", name],
                ["-n", name, "addr", "add", f"{address}/24", "dev", end],
                ["-n", name, "link", "set", end, "up"],
                ["-n", name, "link", "set", "lo", "up"],
            ]
        for command in commands:
            done = ip(*command)
            if done.returncode:
                pytest.skip(f"`ip {' '.join(command)}` is not allowed here: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)  # and with it the cable


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


def start(host: str, number: int, command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """torchrun of two machines on one of them."""
    cable = f"sd{os.getpid()}{'ab'[number]}"
    launcher = [
        "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d",
        f"--rdzv-endpoint={ADDRESSES[0]}:29400", "--rdzv-id=two-hosts", f"--local-addr={ADDRESSES[number]}",
        f"--rdzv-conf=is_host={1 - number}",  # the namespaces share a host name that has no address
        "-m", "sparsedense",
    ]  # fmt: skip
    environment = os.environ | {
        "GLOO_SOCKET_IFNAME": cable,
        "OMP_NUM_THREADS": "1",
        # Else workers of both hosts look in one store for addresses of before the restart (pytorch issue 135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, *launcher, *command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def test_a_killed_worker_of_two_hosts_changes_nothing(
    hosts: tuple[str, str], squares_path: Path, tmp_path: Path
) -> None:
    experiment = tiny_experiment(
        pretrain={"epochs": 4},
        machine={"devices": "auto", "checkpoint_steps": 1},
        objective={"speed": {"weight": 0.0}, "contrast": {"weight": 1.0, "queue_size": 8, "use_teacher": True}},
    )
    save_experiment(experiment, tmp_path / "recipe.yaml")
    run, model = tmp_path / "run", tmp_path / "run" / "model.safetensors"
    command = ["pretrain", str(squares_path), "--out", str(run), "--recipe", str(tmp_path / "recipe.yaml")]
    logs = [tmp_path / f"host-{number}.log" for number in range(2)]
    agents = [start(host, number, command, logs[number]) for number, host in enumerate(hosts)]
    try:
        wait_for(lambda: any(run.glob("checkpoints/*.ckpt")) or agents[1].poll() is not None)
        assert not model.exists(), "the training was over before it could be killed"
        (worker,) = children(agents[1].pid)
        os.kill(worker, signal.SIGKILL)
        statuses = [agent.wait(timeout=SECONDS) for agent in agents]
    finally:
        for agent in agents:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
    assert statuses == [0, 0], [log.read_text()[-3000:] for log in logs]
    assert json.loads((run / "environment.json").read_text())["job"] == "torchrun two-hosts"
    undisturbed = tmp_path / "undisturbed"
    on_one = ["pretrain", str(squares_path), "--out", str(undisturbed), *command[4:], "--machine.devices=2"]
    done = subprocess.run(
        [sys.executable, "-m", "sparsedense", *on_one],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("model: ") == 1, "only one process tells what was done"
    found, expected = load_file(model), load_file(undisturbed / "model.safetensors")
    assert found.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(found[name], value)]
    lines = [[json.loads(line) for line in (path / "metrics.jsonl").open()] for path in (run, undisturbed)]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]] == [3, 6, 9, 12]
    losses = [[line["loss"] for line in told] for told in lines]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
