"""What differs between two settings, to be told to people."""

from collections.abc import Mapping
from typing import Any

_ABSENT = "(absent)"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Changed values by their dotted name, told as `experiment.finetune.epochs: 6 -> 8`."""
    before, after = _flat(old), _flat(new)
    return {
        key: f"{key}: {before.get(key, _ABSENT)} -> {after.get(key, _ABSENT)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
