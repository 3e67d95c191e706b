"""How much a single frame of the procedural data set tells about the action.

A small 2D network is trained on single frames of all labelled training videos and tested on actors that it has not
seen. The data set is about motion only if this stays low: the target is under 50 % with 16 classes (chance 6.25 %).

    python benchmarks/actors_single_frame.py --actors DIR    # made if absent: 40 training, 10 test videos a class
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sparsedense.actors.dataset import make_actors
from sparsedense.actors.motions import TIME_PAIRS
from sparsedense.video.read import stream_frames

SHORT_SIDE = 48


def load(folder: Path, split: str, frames_per_video: int) -> tuple[torch.Tensor, list[str]]:
    """Frames (N, F, 3, H, W) uint8, evenly spaced over each video, and the N labels."""
    with (folder / "videos.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    clips = []
    for row in rows:
        frames = list(stream_frames(folder / row["path"], short_side=SHORT_SIDE))
        chosen = np.linspace(0, len(frames) - 1, frames_per_video).round().astype(int)
        clips.append(np.stack([frames[index] for index in chosen]))
    return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3).contiguous(), [row["label"] for row in rows]


def network(num_classes: int) -> nn.Module:
    """Five convolutions with batch normalisation, mean pooling, a linear layer."""
    layers: list[nn.Module] = []
    for channels_in, channels, stride in ((3, 24, 2), (24, 48, 2), (48, 96, 1), (96, 96, 2), (96, 192, 2)):
        layers += [
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    # The map is kept coarse instead of pooled to one value: poses are arrangements.
    head = [nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(192 * 9, num_classes)]
    return nn.Sequential(*layers, *head)


def augment(frames: torch.Tensor) -> torch.Tensor:
    """Flip, crop and change the light of frames (B, 3, H, W): flips and light for each, the crop for all."""
    height, width = frames.shape[-2:]
    size = int(torch.randint(round(0.8 * height), height + 1, ()))
    top, left = (int(torch.randint(side - size * side // height + 1, ())) for side in (height, width))
    images = frames[..., top : top + size, left : left + size * width // height].float() / 255
    flip = torch.rand(len(images)) < 0.5
    images[flip] = images[flip].flip(-1)
    return images * (1 + 0.3 * (2 * torch.rand(len(images), 3, 1, 1) - 1))


def train(frames: torch.Tensor, labels: torch.Tensor, num_classes: int, seconds: float) -> nn.Module:
    """Train on batches of single frames of random videos for a time; the learning rate falls as a cosine."""
    model = network(num_classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    started, steps, running = time.perf_counter(), 0, 0.0
    while (part := (time.perf_counter() - started) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * 0.5 * (1 + np.cos(np.pi * part)) * min(1.0, (steps + 1) / 50)
        video = torch.randint(len(frames), (64,))
        batch = augment(frames[video, torch.randint(frames.shape[1], (64,))])
        loss = F.cross_entropy(model((batch - 0.45).contiguous(memory_format=torch.channels_last)), labels[video])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        running = 0.98 * running + 0.02 * loss.item()
    print(f"{steps} steps of 64 frames in {seconds:.0f} s, training loss {running:.2f}")
    return model.eval()


def main() -> None:
    """Make the data set if it is absent, train, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=Path, default=Path("runs/actors-single-frame"))
    parser.add_argument("--seconds", type=float, default=100.0, help="training time")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 where others use the cores")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if not (arguments.actors / "videos.csv").exists():
        print(make_actors(arguments.actors, train_per_class=40, test_per_class=10, unlabelled=0))
    train_frames, train_names = load(arguments.actors, "train", 24)
    test_frames, test_names = load(arguments.actors, "test", 24)
    names = sorted(set(train_names))
    labels = torch.tensor([names.index(name) for name in train_names])
    target = torch.tensor([names.index(name) for name in test_names])
    model = train(train_frames, labels, len(names), arguments.seconds)
    with torch.no_grad():
        probability = torch.stack(
            [model(clip.float() / 255 - 0.45).softmax(-1) for clip in test_frames]
        )  # (N, F, classes)
    twin = {b: a for a, b in TIME_PAIRS}
    motion = torch.tensor(
        [names.index(twin.get(name, name)) if twin.get(name, name) in names else i for i, name in enumerate(names)]
    )
    frame, video = probability.argmax(-1), probability.mean(1).argmax(-1)
    chance = f"chance {1 / len(names):.1%}"
    print(f"{len(train_names)} training videos, {len(test_names)} test videos of unseen actors, {chance}")
    print(f"single frame accuracy            {(frame == target[:, None]).float().mean():.1%}   (target: under 50 %)")
    print(f"single frame, time pairs merged  {(motion[frame] == motion[target][:, None]).float().mean():.1%}")
    print(f"all frames of a video, no order  {(video == target).float().mean():.1%}")
    print(f"the same, time pairs merged      {(motion[video] == motion[target]).float().mean():.1%}")


if __name__ == "__main__":
    main()
