from dataclasses import replace

import pytest

from sparsedense.cli.probe_table import headline, print_probe
from sparsedense.evaluation.probe import Probe

PROBE = Probe(
    knn={"model": 0.81, "random": 0.24, "untrained": 0.45},
    linear={"model": 0.9, "random": 0.3, "untrained": 0.6},
    retrieval={
        "model": {"r1": 0.81, "r5": 0.95},
        "random": {"r1": 0.24, "r5": 0.5},
        "untrained": {"r1": 0.45, "r5": 0.6},
    },
    controls={"real": 0.93, "frozen": 0.52, "shuffled": 0.9, "reencoded": 0.91},
    robustness={
        "clean": {"model": 0.8, "untrained": 0.2},
        "gaussian_noise": {"model": [0.8, 0.7, 0.65, 0.5, 0.4], "untrained": [0.2, 0.2, 0.15, 0.1, 0.1]},
    },
    effective_rank={"model": 20.04, "random": 3.0, "untrained": 4.0},
    feature_std={"model": 0.09, "random": 0.01, "untrained": 0.02},
    alignment={"model": 0.1, "random": 0.02, "untrained": 0.03},
    uniformity={"model": -2.5, "random": -0.1, "untrained": -0.2},
    split="test",
    labels_per_class=10,
    clips_per_video=10,
    robustness_clips=3,
    gallery_videos=100,
    query_videos=80,
    feature_dim=64,
    seed=0,
)


def shown(probe: Probe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "160")
    print_probe(probe)
    return capsys.readouterr().out


def test_the_headline_says_how_many_times_a_random_network() -> None:
    assert headline(PROBE) == (
        "kNN 0.81: 3.4 x random weights, 1.8 x untrained; linear probe 0.90: 3.0 x random weights, 1.5 x untrained"
    )
    blind = replace(PROBE, knn={"model": 0.81, "random": 0.0, "untrained": 0.1})
    assert headline(blind).startswith("kNN 0.81: beyond random weights, 8.1 x untrained;")


def test_every_figure_stands_beside_the_random_networks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(PROBE, capsys, monkeypatch).splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert ["nearest neighbour", "81.0%", "24.0%", "45.0%", "3.4 x random weights, 1.8 x untrained"] in rows
    assert ["retrieval R@5", "95.0%", "50.0%", "60.0%", "1.9 x random weights, 1.6 x untrained"] in rows
    assert ["effective rank", "20.0", "3.0", "4.0", "of 64, 1 if collapsed"] in rows
    assert ["standard deviation", "0.090", "0.010", "0.020", "0.125 if spread evenly, 0 if collapsed"] in rows
    assert ["clean", "model", "80.0%", "", "", "", "", ""] in rows
    assert ["gaussian noise", "model", "80.0%", "70.0%", "65.0%", "50.0%", "40.0%", "15.0 points"] in rows
    assert ["", "untrained", "20.0%", "20.0%", "15.0%", "10.0%", "10.0%", "5.0 points"] in rows


@pytest.mark.parametrize(
    ("changes", "reading"),
    [
        ({}, "knows speed"),
        ({}, "at chance, as it must be"),
        ({}, "as real, as it must be"),
        ({"real": 0.6}, "hardly knows speed"),
        ({"frozen": 0.6}, "NOT at chance"),
        ({"frozen": 0.4}, "NOT at chance"),
        ({"reencoded": 0.8}, "NOT as real"),
    ],
)
def test_the_controls_are_read(
    changes: dict[str, float], reading: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PROBE.controls is not None
    assert reading in shown(replace(PROBE, controls={**PROBE.controls, **changes}), capsys, monkeypatch)


def test_what_was_not_measured_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(replace(PROBE, controls=None, robustness=None, alignment=None), capsys, monkeypatch)
    assert "speed controls: none; they need a speed head" in text
    assert "gaussian noise" not in text
    assert "alignment" not in text
