"""What `sparsedense probe` prints for people: model beside random networks, each figure with its reading."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sparsedense.evaluation.probe import Probe

CHANCE = 0.5  # of sparse against dense
# How far the controls may stray before the table calls it a fault: shares, as in "within 5 points of chance".
NEAR = 0.05
LEARNT = 0.20
SHOWN_SEVERITY = 3
# `random` is the mean of networks with PyTorch's default weights, `untrained` has those that training starts from.
_NETWORKS = ("model", "random", "untrained")


def print_probe(probe: "Probe") -> None:
    """The headline, and tables of recognition, of the cloud of features, of the controls and of robustness."""
    console = Console()
    console.print(headline(probe), highlight=False)
    labels = "all labelled" if probe.labels_per_class is None else f"{probe.labels_per_class} a class"
    console.print(
        f"{probe.query_videos} videos of the split {probe.split}, recognised by {probe.gallery_videos} training videos "
        f"({labels}); {probe.clips_per_video} clips a video, frozen features of {probe.feature_dim} numbers",
        highlight=False,
    )
    console.print(_recognition_table(probe))
    console.print(_features_table(probe))
    if probe.controls is None:
        console.print("speed controls: none; they need a speed head, and videos as long as its training asks")
    else:
        console.print(_controls_table(probe.controls))
    if probe.robustness is not None:
        console.print(_robustness_table(probe))


def headline(probe: "Probe") -> str:
    """The probe in one line, as `kNN 0.81: 3.4 x random weights, 1.8 x untrained; linear probe 0.90: ...`."""
    found = (("kNN", probe.knn), ("linear probe", probe.linear))
    return "; ".join(f"{title} {of['model']:.2f}: {_reading(of)}" for title, of in found)


def _recognition_table(probe: "Probe") -> Table:
    table = _table("recognition", *_NETWORKS, "reading")
    shares = {"nearest neighbour": probe.knn, "linear probe": probe.linear}
    for key in probe.retrieval["model"]:
        shares[f"retrieval R@{key.removeprefix('r')}"] = {name: of[key] for name, of in probe.retrieval.items()}
    for title, of_network in shares.items():
        table.add_row(title, *(_share(of_network[name]) for name in _NETWORKS), _reading(of_network))
    return table


def _features_table(probe: "Probe") -> Table:
    table = _table("features", *_NETWORKS, "reading")
    even = probe.feature_dim**-0.5
    rows = [
        ("standard deviation", probe.feature_std, f"{even:.3f} if spread evenly, 0 if collapsed"),
        ("effective rank", probe.effective_rank, f"of {probe.feature_dim}, 1 if collapsed"),
        ("alignment", probe.alignment, "0 if all clips of a video agree"),
        ("uniformity", probe.uniformity, "lower is more evenly spread, 0 if collapsed"),
    ]
    for title, figures, reading in rows:
        if figures is not None:
            digits = 1 if title == "effective rank" else 3
            table.add_row(title, *(f"{figures[name]:.{digits}f}" for name in _NETWORKS), reading)
    return table


def _controls_table(controls: dict[str, float]) -> Table:
    table = _table("sparse or dense?", "accuracy", "reading")
    for name, accuracy in controls.items():
        table.add_row(name, _share(accuracy), _control_reading(name, controls))
    return table


def _control_reading(name: str, controls: dict[str, float]) -> str:
    accuracy, real = controls[name], controls["real"]
    if name == "real":
        return "knows speed" if accuracy >= CHANCE + LEARNT else "hardly knows speed; chance is 50 %"
    if name == "frozen":
        at_chance = abs(accuracy - CHANCE) <= NEAR
        return "at chance, as it must be" if at_chance else "NOT at chance: it reads something else than motion"
    if name == "reencoded":
        near = abs(accuracy - real) <= NEAR
        return "as real, as it must be" if near else "NOT as real: it reads the traces of an encoder"
    return "what the spread of the frames tells, without their order"


def _robustness_table(probe: "Probe") -> Table:
    assert probe.robustness is not None
    severities = [str(severity) for severity in range(1, 6)]
    table = _table("corruption", "network", *severities, f"loss at {SHOWN_SEVERITY}")
    table.title, table.title_justify = "nearest neighbour under corruption, severities 1 to 5", "left"
    clean = probe.robustness["clean"]
    for kind, of_network in probe.robustness.items():
        for network, values in of_network.items():
            title = kind.replace("_", " ") if network == "model" else ""
            if not isinstance(values, list):
                table.add_row(title, network, _share(values), *[""] * len(severities))
                continue
            before = clean[network]
            assert isinstance(before, float)
            points = 100 * (before - values[SHOWN_SEVERITY - 1])
            table.add_row(title, network, *(_share(value) for value in values), f"{points:.1f} points")
    return table


def _table(*columns: str) -> Table:
    """A table whose first and last columns are words and the others numbers."""
    table = Table()
    for place, title in enumerate(columns):
        words = place == 0 or title in ("reading", "network")
        table.add_column(title, justify="left" if words else "right", overflow="fold")
    return table


def _share(value: float) -> str:
    return f"{value:.1%}"


def _reading(of_network: dict[str, float]) -> str:
    """How many times the figures of networks that learnt nothing the model's is."""
    return f"{_times(of_network, 'random')} random weights, {_times(of_network, 'untrained')} untrained"


def _times(of_network: dict[str, float], baseline: str) -> str:
    if of_network[baseline] == 0:
        return "beyond"
    return f"{of_network['model'] / of_network[baseline]:.1f} x"
