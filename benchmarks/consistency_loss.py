"""How long the consistency loss takes, beside a loop over samples and beside a training step of the network.

    python benchmarks/consistency_loss.py [--pairs 13] [--step-clips 26] [--json OUT]

The batch is the paper's: 13 pairs, maps 512x4x7x7, frames 112x112, and a step of R(2+1)D-18 on their 26 clips of
3x16x112x112. The loss shall take at most 3 % of the step and at most a quarter of the loop, which is the slow reference
of the tests (one video and one similarity at a time, with gradient). Runs of both alternate, and the fastest counts, so
that other work on the machine disturbs both alike. A step on fewer clips is scaled up to the whole batch.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.losses.slow_consistency import slow_consistency  # noqa: E402

from sparsedense.losses.consistency import KINDS, ConsistencyLoss  # noqa: E402 (the path comes first)
from sparsedense.models.encoder import Encoder, EncoderConfig, pool  # noqa: E402

MOST_OF_STEP = 0.03
MOST_OF_LOOP = 0.25
TEMPERATURES = (0.05, 0.1)  # RGB, latent


def seconds(work: Callable[[], None]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_losses(kind: str, *, pairs: int, repeats: int) -> tuple[float, float]:
    """Fastest forward and backward of our loss and of the loop over samples, in seconds."""
    torch.manual_seed(0)
    maps = [torch.rand(pairs, 512, 4, 7, 7).to(memory_format=torch.channels_last_3d).requires_grad_() for _ in range(2)]
    frames = (torch.rand(pairs, 3, 112, 112), torch.rand(pairs, 4, 3, 112, 112))
    centres = torch.tensor([25.0, 75.0, 125.0, 175.0]).expand(pairs, 4)
    position = torch.linspace(10.0, 190.0, pairs)
    batched = ConsistencyLoss(kind, rgb_temperature=TEMPERATURES[0], latent_temperature=TEMPERATURES[1])
    centres_list, position_list = centres.tolist(), position.tolist()

    def ours() -> None:
        loss: torch.Tensor = batched(*maps, *frames, position, centres)
        torch.autograd.grad(loss, maps)

    def loop() -> None:
        loss = slow_consistency(kind, (maps[0], maps[1]), frames, position_list, centres_list, TEMPERATURES)
        torch.autograd.grad(loss, maps)

    times = [(seconds(ours), seconds(loop)) for _ in range(repeats + 1)][1:]
    return min(own for own, _ in times), min(slow for _, slow in times)


def time_training_step(*, clips: int, steps: int, bf16: bool) -> float:
    """Fastest forward, backward and Adam step of R(2+1)D-18 after one to warm up, in seconds."""
    encoder = Encoder(EncoderConfig()).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    batch = torch.rand(clips, 3, 16, 112, 112).to(memory_format=torch.channels_last_3d)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = pool(encoder(batch)).float().square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()

    step()
    return min(seconds(step) for _ in range(steps))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=13, help="videos in the batch (13)")
    parser.add_argument("--repeats", type=int, default=20, help="timed runs of the losses (20)")
    parser.add_argument("--steps", type=int, default=2, help="timed training steps (2)")
    parser.add_argument("--step-clips", type=int, help="clips of the training step (all); its time is scaled")
    parser.add_argument("--precision", choices=("auto", "bf16", "float32"), default="auto", help="of the step")
    parser.add_argument("--threads", type=int, help="of torch (its default)")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    return parser.parse_args()


def main() -> int:
    """Measure, print a table, and return 1 where a limit is exceeded."""
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    clips = 2 * arguments.pairs
    step_clips = arguments.step_clips or clips
    # Without instructions for it, bfloat16 falls back to a reference kernel that is many times slower than float32.
    has_bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    bf16 = arguments.precision == "bf16" or (arguments.precision == "auto" and has_bf16)
    losses = {kind: time_losses(kind, pairs=arguments.pairs, repeats=arguments.repeats) for kind in KINDS}
    step = time_training_step(clips=step_clips, steps=arguments.steps, bf16=bf16) * clips / step_clips
    result: dict[str, object] = {
        "pairs": arguments.pairs,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    result |= {"step_seconds": step, "step_clips": step_clips, "step_precision": "bf16" if bf16 else "float32"}
    print(f"training step of {clips} clips: {step:.2f} s ({result['step_precision']}, from {step_clips} clips)")
    print(f"{'loss':<8}{'ours ms':>10}{'loop ms':>10}{'of loop':>10}{'of step':>10}")
    passed = True
    for kind, (ours, loop) in losses.items():
        of_loop, of_step = ours / loop, ours / step
        passed &= of_loop <= MOST_OF_LOOP and of_step <= MOST_OF_STEP
        result[kind] = {"ours_seconds": ours, "loop_seconds": loop, "of_loop": of_loop, "of_step": of_step}
        print(f"{kind:<8}{ours * 1e3:>10.1f}{loop * 1e3:>10.1f}{of_loop:>10.3f}{of_step:>10.4f}")
    print(f"limits{'':<22}{MOST_OF_LOOP:>10.3f}{MOST_OF_STEP:>10.4f}   {'met' if passed else 'EXCEEDED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
