"""Read the JSON, JSON lines, YAML and pictures of a run folder; every failure names the file and the way out."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

import yaml

from sparsedense.report.errors import ReportError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_Value = TypeVar("_Value")

_PICTURE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def read_text(path: Path, *, remedy: str) -> str:
    """Text of a file.

    Raises:
        ReportError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportError(f"{path} is missing: {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} cannot be read ({error}): {remedy}") from error


def read_json_object(path: Path, *, remedy: str) -> dict[str, Json]:
    """The JSON object that a file holds.

    Raises:
        ReportError: the file is missing, is no JSON or holds something else than an object.
    """
    return _parse_object(read_text(path, remedy=remedy), place=str(path), remedy=remedy)


def read_json_lines(path: Path, *, remedy: str) -> list[tuple[int, dict[str, Json]]]:
    """Line number (from 1) and JSON object of every line that is not blank.

    Raises:
        ReportError: the file is missing or a line is no JSON object; the message names the line.
    """
    lines = read_text(path, remedy=remedy).split("\n")
    return [
        (number, _parse_object(line, place=f"{path}, line {number},", remedy=remedy))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def read_yaml_object(path: Path, *, remedy: str) -> tuple[dict[str, Json], str]:
    """The mapping that a YAML file holds, and the file's text.

    Raises:
        ReportError: the file is missing, is no YAML or holds something else than a mapping.
    """
    text = read_text(path, remedy=remedy)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ReportError(f"{path} is not valid YAML ({error}): {remedy}") from error
    if value is None:
        return {}, text
    if not isinstance(value, dict):
        raise ReportError(f"{path} must hold a mapping of settings, not {type(value).__name__}: {remedy}")
    return {str(key): item for key, item in value.items()}, text


def picture_data_uri(folder: Path, name: str, *, remedy: str) -> str:
    """A PNG or JPEG file inside `folder` as a data URI.

    Raises:
        ReportError: the picture lies outside the folder, is missing, or is neither PNG nor JPEG.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ReportError(f"picture {name!r} lies outside of {folder}: {remedy}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReportError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    for signature, media_type in _PICTURE_TYPES.items():
        if content.startswith(signature):
            return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
    raise ReportError(f"{path} is neither a PNG nor a JPEG picture: {remedy}")


def _parse_object(text: str, *, place: str, remedy: str) -> dict[str, Json]:
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise ReportError(f"{place} is not valid JSON ({error}): {remedy}") from error
    if not isinstance(value, dict):
        raise ReportError(f"{place} must hold a JSON object, not {type(value).__name__}: {remedy}")
    return value


class Fields:
    """Typed access to the values of a JSON object; a wrong value is reported with its file and key.

    Args:
        values: the object.
        place: where it was read, for messages.
        remedy: what to do when it is wrong, for messages.
    """

    def __init__(self, values: Mapping[str, Json], *, place: str, remedy: str) -> None:
        self.values = values
        self.place = place
        self.remedy = remedy

    def text(self, key: str) -> str:
        """A required string."""
        return self._required(key, "a string", as_text)

    def number(self, key: str) -> float:
        """A required number."""
        return self._required(key, "a number", as_number)

    def optional_number(self, key: str) -> float | None:
        """A number, or None where the key is absent or null."""
        return None if self.values.get(key) is None else self.number(key)

    def numbers(self, key: str) -> list[float]:
        """A required list of numbers."""
        return self._required(key, "a list of numbers", as_numbers)

    def items(self, key: str) -> list[Json]:
        """A list, empty where the key is absent or null."""
        if self.values.get(key) is None:
            return []
        return self._required(key, "a list", lambda value: value if isinstance(value, list) else None)

    def texts(self, key: str) -> list[str]:
        """A list of strings, empty where the key is absent or null."""
        return [self._checked(key, item, "a list of strings", as_text) for item in self.items(key)]

    def part(self, key: str) -> "Fields":
        """A nested object, empty where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return Fields({}, place=self.place, remedy=self.remedy)
        return self.nested(value, f"{self.place}, {key}")

    def parts(self, key: str) -> "list[Fields]":
        """A list of nested objects, empty where the key is absent or null."""
        return [self.nested(item, f"{self.place}, {key}[{i}]") for i, item in enumerate(self.items(key))]

    def nested(self, value: Json, place: str) -> "Fields":
        """The fields of a nested value, which must be an object."""
        if not isinstance(value, dict):
            raise ReportError(f"{place} must be an object, got {value!r}: {self.remedy}")
        return Fields(value, place=place, remedy=self.remedy)

    def _required(self, key: str, expected: str, convert: Callable[[Json], _Value | None]) -> _Value:
        if key not in self.values:
            raise ReportError(f"{self.place} has no {key!r} ({expected}): {self.remedy}")
        return self._checked(key, self.values[key], expected, convert)

    def _checked(self, key: str, value: Json, expected: str, convert: Callable[[Json], _Value | None]) -> _Value:
        converted = convert(value)
        if converted is None:
            raise ReportError(f"{self.place}: {key!r} must be {expected}, got {value!r}: {self.remedy}")
        return converted


def as_text(value: Json) -> str | None:
    """A JSON string; None for anything else."""
    return value if isinstance(value, str) else None


def as_number(value: Json) -> float | None:
    """A JSON number as float; None for anything else (true and false are no numbers)."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_numbers(value: Json) -> list[float] | None:
    """A JSON list of numbers as floats; None for anything else."""
    if not isinstance(value, list):
        return None
    numbers = [as_number(item) for item in value]
    complete = [number for number in numbers if number is not None]
    return complete if len(complete) == len(numbers) else None
