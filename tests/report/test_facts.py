"""What was run on what."""

from sparsedense.report.facts import environment_facts
from sparsedense.report.read_files import Json


def test_only_what_was_recorded_is_told() -> None:
    assert environment_facts({}) == []
    assert environment_facts({"gpu": [], "cores": 1}) == [("Machine", "1 core")]


def test_several_gpus_of_a_kind_are_counted() -> None:
    environment: dict[str, Json] = {
        "gpu": ["H200", "H200"],
        "cpu": "EPYC",
        "phase": "finetune",
        "init": "pretrain/model.safetensors",
    }
    assert environment_facts({**environment, "torch": "2.9.0", "python": "3.12.1"}) == [
        ("Phase", "finetune"),
        ("Starts from", "pretrain/model.safetensors"),
        ("Machine", "2 x H200 · EPYC"),
        ("Versions", "python 3.12.1 · torch 2.9.0"),
    ]


def test_the_store_is_described() -> None:
    store: dict[str, Json] = {"name": "kitchen", "videos": 1200, "classes": 16, "splits": {"train": 1000, "test": 200}}
    assert environment_facts({"store": store, "seconds": 75}) == [
        ("Data", "kitchen · 1,200 videos · 16 classes · train 1,000, test 200"),
        ("Duration", "1 min 15 s"),
    ]
