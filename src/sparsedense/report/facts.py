"""What was run on what: the facts of config.yaml and environment.json as name and value."""

from collections.abc import Mapping

from sparsedense.report.read_files import Json, as_number, as_text
from sparsedense.report.wording import count, duration


def environment_facts(environment: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Phase, data, machine, duration and versions, those that were recorded."""
    seconds = as_number(environment.get("seconds"))
    facts = [
        ("Phase", as_text(environment.get("phase")) or ""),
        ("Starts from", as_text(environment.get("init")) or ""),
        ("Data", _store(environment.get("store"))),
        ("Machine", _machine(environment)),
        ("Started", as_text(environment.get("started")) or ""),
        ("Duration", "" if seconds is None else duration(seconds)),
        ("Versions", _versions(environment)),
    ]
    return [(name, value) for name, value in facts if value]


def recipe_name(config: Mapping[str, Json]) -> str:
    """Name of the recipe where the configuration names one."""
    return as_text(config.get("recipe")) or ""


def _store(store: Json) -> str:
    if not isinstance(store, dict):
        return ""
    videos, classes, splits = as_number(store.get("videos")), as_number(store.get("classes")), store.get("splits")
    parts = [
        as_text(store.get("name")) or "",
        "" if videos is None else count(int(videos), "video"),
        "" if classes is None else count(int(classes), "class"),
        ", ".join(f"{name} {number:,}" for name, number in splits.items()) if isinstance(splits, dict) else "",
    ]
    return " · ".join(part for part in parts if part)


def _machine(environment: Mapping[str, Json]) -> str:
    cores = as_number(environment.get("cores"))
    parts = [*_gpus(environment.get("gpu")), as_text(environment.get("cpu")) or ""]
    parts += ["" if cores is None else count(int(cores), "core"), as_text(environment.get("platform")) or ""]
    return " · ".join(part for part in parts if part)


def _gpus(gpu: Json) -> list[str]:
    names = [str(name) for name in gpu] if isinstance(gpu, list) else [as_text(gpu) or ""]
    return [name if names.count(name) == 1 else f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]


def _versions(environment: Mapping[str, Json]) -> str:
    names = ("sparsedense", "python", "torch", "lightning")
    return " · ".join(f"{name} {environment[name]}" for name in names if environment.get(name))
