"""Write the procedural data set: video files of people acting, with labels, groups and splits."""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from sparsedense.actors.film import Actor, draw_actor, film_action
from sparsedense.actors.motions import ACTIONS
from sparsedense.actors.scene import DIFFICULTIES, SceneSettings
from sparsedense.actors.untrimmed import film_untrimmed, write_annotations
from sparsedense.video.write import write_video

FPS = 25.0
#: Numbers of the actors of each split; no actor is in two.
ACTORS: dict[str, range] = {
    "train": range(0, 24),
    "val": range(24, 34),
    "test": range(34, 54),
    "unlabelled": range(54, 94),
}
_SPLITS = tuple(ACTORS)
# Untrimmed videos have the actors of these splits in turn, named as ActivityNet names its subsets.
_SUBSETS = (
    ("train", "training"),
    ("val", "validation"),
    ("train", "training"),
    ("test", "testing"),
    ("train", "training"),
)
_SMALLEST_SIDE = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ActorsSummary:
    """What `make_actors` wrote.

    Args:
        out: the folder.
        videos: number of videos by split.
        frames: number of frames of all videos.
        untrimmed: number of untrimmed videos.
        classes: names of the classes.
        seconds: time it took.
    """

    out: Path
    videos: dict[str, int]
    frames: int
    untrimmed: int
    classes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Job:
    """One video to write; `key` seeds it, so the same job gives the same file in any process and any order."""

    path: str  # relative to the data set's folder
    key: tuple[int, ...]
    actor: int
    split: str
    label: str
    action: str | None  # None: an untrimmed video
    actor_key: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Film:
    """What all jobs have in common."""

    out: Path
    width: int
    height: int
    settings: SceneSettings


def make_actors(
    out: str | Path,
    *,
    seed: int = 0,
    train_per_class: int = 10,
    val_per_class: int = 0,
    test_per_class: int = 20,
    unlabelled: int = 480,
    untrimmed: int = 0,
    width: int = 160,
    height: int = 120,
    actions: Sequence[str] = tuple(ACTIONS),
    difficulty: str = "default",
    settings: SceneSettings | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ActorsSummary:
    """Write videos of articulated people who act, as H.264 mp4 files of 100 to 200 frames at 25 fps.

    Files are `<class>/<actor>_<number>.mp4`, `unlabelled/<actor>_<number>.mp4` and `videos.csv` (path, label, group,
    split). The group is the actor; train, val, test and unlabelled videos have different actors. A labelled video
    depends on the seed, its split, class and number only, so a larger set holds the smaller one, whatever the number
    of workers.

    Args:
        out: the folder to write; must be empty or absent unless `overwrite`.
        seed: seed of everything random.
        train_per_class: labelled training videos of each class.
        val_per_class: validation videos of each class.
        test_per_class: test videos of each class.
        unlabelled: videos without label; all classes equally often.
        untrimmed: longer videos (20-60 s) with several actions, and `untrimmed/annotations.json`.
        width: of the frames, pixels, even.
        height: of the frames, pixels, even.
        actions: names of the classes, of `ACTIONS`.
        difficulty: "default" or "hard", with people who face either side, any clothes before any background, things and
            other people who move, and a shakier camera.
        settings: sizes of all nuisances; None for those of the difficulty.
        workers: processes; None for one a core, 1 for none besides this one.
        overwrite: replace a data set that is there; other files in the folder stay.
        progress: called with the numbers of videos done and in all.

    Raises:
        FileExistsError: the folder holds something and `overwrite` is false.
        ValueError: a count, size or action that cannot be.
    """
    counts = {"train": train_per_class, "val": val_per_class, "test": test_per_class}
    _check(counts, unlabelled, untrimmed, width, height, actions, workers)
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty {difficulty!r} is not known; use one of {', '.join(DIFFICULTIES)}")
    started = time.perf_counter()
    folder = Path(out)
    _make_room(folder, overwrite=overwrite)
    jobs = _plan(seed, counts, unlabelled, actions)
    long_jobs = _plan_untrimmed(seed, untrimmed)
    film = _Film(folder, width, height, settings or DIFFICULTIES[difficulty])
    frames, annotations = 0, []
    for done, (num_frames, segments) in enumerate(_run(film, [*jobs, *long_jobs], workers), start=1):
        frames += num_frames
        if done > len(jobs):
            annotations.append((long_jobs[done - len(jobs) - 1], num_frames / FPS, segments))
        if progress is not None:
            progress(done, len(jobs) + len(long_jobs))
    if annotations:
        videos = [(Path(job.path).stem, job.label, duration, segments) for job, duration, segments in annotations]
        write_annotations(folder / "untrimmed" / "annotations.json", videos)
    _write_csv(folder / "videos.csv", jobs)
    by_split = {split: sum(job.split == split for job in jobs) for split in _SPLITS}
    return ActorsSummary(folder, by_split, frames, untrimmed, tuple(actions), time.perf_counter() - started)


def _check(
    counts: dict[str, int],
    unlabelled: int,
    untrimmed: int,
    width: int,
    height: int,
    actions: Sequence[str],
    workers: int | None,
) -> None:
    named = {f"{split}_per_class": n for split, n in counts.items()} | {
        "unlabelled": unlabelled,
        "untrimmed": untrimmed,
    }
    for name, value in named.items():
        if value < 0:
            raise ValueError(f"{name} ({value}) must be at least 0")
    if not any(named.values()):
        raise ValueError(f"nothing to write: {', '.join(named)} are all 0; ask for at least one video")
    for name, value in {"width": width, "height": height}.items():
        if value < _SMALLEST_SIDE or value % 2:
            raise ValueError(f"{name} ({value}) must be even and at least {_SMALLEST_SIDE} pixels")
    if workers is not None and workers < 1:
        raise ValueError(f"workers ({workers}) must be at least 1, or None for one a core")
    unknown = [name for name in actions if name not in ACTIONS]
    if unknown or not actions or len(set(actions)) != len(actions):
        raise ValueError(f"actions ({', '.join(actions)}) must be different names out of: {', '.join(ACTIONS)}")


def _make_room(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a folder to write the data set to")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise FileExistsError(f"{folder} is not empty; give another folder, or overwrite=True (--overwrite)")
        for name in (*ACTIONS, "unlabelled", "untrimmed"):
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
        (folder / "videos.csv").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def _plan(seed: int, counts: dict[str, int], unlabelled: int, actions: Sequence[str]) -> list[_Job]:
    jobs = []
    places = {name: place for place, name in enumerate(ACTIONS)}
    for code, (split, count) in enumerate(counts.items()):
        for name in actions:
            for number in range(count):
                # The n-th videos of all classes have the same actor: who acts says nothing of the action.
                actor = ACTORS[split][number % len(ACTORS[split])]
                path = f"{name}/actor{actor:03d}_{number:03d}.mp4"
                jobs.append(
                    _Job(path, (seed, 0, code, places[name], number), actor, split, name, name, (seed, 1, actor))
                )
    for number in range(unlabelled):
        actor = ACTORS["unlabelled"][number // len(actions) % len(ACTORS["unlabelled"])]
        name = actions[number % len(actions)]
        path = f"unlabelled/actor{actor:03d}_{number:05d}.mp4"
        jobs.append(_Job(path, (seed, 0, 3, number), actor, "unlabelled", "", name, (seed, 1, actor)))
    return jobs


def _plan_untrimmed(seed: int, count: int) -> list[_Job]:
    jobs = []
    for number in range(count):
        split, subset = _SUBSETS[number % len(_SUBSETS)]
        actor = ACTORS[split][number // len(_SUBSETS) % len(ACTORS[split])]
        path = f"untrimmed/actor{actor:03d}_{number:03d}.mp4"
        jobs.append(_Job(path, (seed, 0, 4, number), actor, split, subset, None, (seed, 1, actor)))
    return jobs


def _run(film: _Film, jobs: list[_Job], workers: int | None) -> Iterator[tuple[int, list[tuple[str, int, int]]]]:
    """Write all videos; yields the results in the order of the jobs."""
    num_workers = min(workers or _num_cores(), len(jobs))
    if num_workers == 1:
        yield from (_write(film, job) for job in jobs)
        return
    # Long videos first would end more evenly, but results come in order; chunks are small instead.
    chunks = [jobs[start : start + 4] for start in range(0, len(jobs), 4)]
    # Spawned, not forked: a forked child of a process in which OpenCV has run its threads waits for them for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        try:
            yield from chain.from_iterable(pool.map(_write_several, [film] * len(chunks), chunks))
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"a process that writes videos to {film.out} died; in a script, call make_actors below "
                "`if __name__ == '__main__':`, or pass workers=1 to stay in one process"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_several(film: _Film, jobs: list[_Job]) -> list[tuple[int, list[tuple[str, int, int]]]]:
    return [_write(film, job) for job in jobs]


def _write(film: _Film, job: _Job) -> tuple[int, list[tuple[str, int, int]]]:
    """Draw and encode one video; returns its number of frames and, if untrimmed, its segments."""
    seed = np.random.SeedSequence(job.key)
    actor: Actor = draw_actor(np.random.default_rng(job.actor_key))
    segments: list[tuple[str, int, int]] = []
    if job.action is None:
        scenes, segments = film_untrimmed(seed, actor, film.settings, film.width, film.height, fps=FPS)
    else:
        scenes = film_action(seed, actor, ACTIONS[job.action], film.settings, film.width, film.height)
    return write_video(film.out / job.path, scenes.frames(), fps=FPS, preset="superfast", threads=1), segments


def _write_csv(path: Path, jobs: list[_Job]) -> None:
    partial = path.with_name(".videos.csv.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "label", "group", "split"])
        rows.writerows([job.path, job.label, f"actor{job.actor:03d}", job.split] for job in jobs)
    partial.replace(path)
