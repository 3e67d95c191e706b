"""The small files by which a study knows what is done: one for each finished job, written completely or not at all.

OUT/finetune/speed-store-3-seed0/               the run
OUT/finetune/speed-store-3-seed0.json           its settings and results: it is finished
OUT/finetune/speed-store-3-seed0.started.json   it was begun; a killed run goes on from its checkpoint, if it has one

Settings are kept in full, so that a change of them can be named.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class JobRecord:
    """A finished job.

    Attributes:
        name: the job's name, which is also its place in the study's folder.
        settings: all that decides the results.
        results: what the job found.
        seconds: how long it took.
        finished: when, in UTC.
    """

    name: str
    settings: dict[str, Any]
    results: dict[str, Any]
    seconds: float
    finished: str


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Short digest of settings; the order of the keys does not matter."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_path(out: Path, name: str) -> Path:
    """Where the record of a job lies."""
    return out / f"{name}.json"


def write_record(out: Path, record: JobRecord) -> None:
    """Say that a job is finished."""
    write_atomically(record_path(out, record.name), json.dumps(asdict(record), indent=1) + "\n")
    started_path(out, record.name).unlink(missing_ok=True)


def read_record(out: Path, name: str) -> JobRecord | None:
    """The record of a finished job; None where there is none, or a damaged one, so that the job is done again."""
    try:
        return JobRecord(**json.loads(record_path(out, name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def started_path(out: Path, name: str) -> Path:
    """Where a job notes that it was begun."""
    return out / f"{name}.started.json"


def begin(out: Path, name: str, settings: Mapping[str, Any]) -> bool:
    """Note that a job begins; returns whether a run of the same settings was begun before, and not finished."""
    note = {"hash": settings_hash(settings)}
    path = started_path(out, name)
    try:
        same: bool = json.loads(path.read_text(encoding="utf-8")) == note
    except (FileNotFoundError, ValueError):
        same = False
    record_path(out, name).unlink(missing_ok=True)
    write_atomically(path, json.dumps(note) + "\n")
    return same


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a JSON file: tuples are lists, paths are text."""
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def write_atomically(path: Path, text: str) -> None:
    """Write a text file completely or not at all, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
