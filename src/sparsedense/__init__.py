"""Learn action recognisers from mostly unlabelled video.

    import sparsedense as sd

    sd.prepare("my_videos", "store")
    pretrained = sd.pretrain("store", "runs/pretrain", sd.load_experiment("sparsedense+small"))
    recogniser = sd.finetune("store", "runs/finetune", sd.load_experiment("sparsedense+small"), init=pretrained.model)
    print(sd.evaluate(recogniser.model, "store").accuracy)
    print(sd.load_model(recogniser.model).predict("clip.mp4").label)

Names are imported when they are first used, so that `import sparsedense` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsedense.actors.dataset import make_actors
    from sparsedense.config import Experiment, load_experiment
    from sparsedense.data.inspect import inspect_store
    from sparsedense.data.prepare import prepare
    from sparsedense.data.store import FrameStore
    from sparsedense.evaluation.evaluate import evaluate
    from sparsedense.evaluation.probe import probe
    from sparsedense.experiments.demo import run_demo
    from sparsedense.experiments.study import run_study
    from sparsedense.experiments.study_config import load_study
    from sparsedense.export.export_model import export_model
    from sparsedense.export.exported_model import load_exported
    from sparsedense.prediction.video_recogniser import load_model
    from sparsedense.report.page import write_report
    from sparsedense.retrieval.build import build_index
    from sparsedense.retrieval.index import load_index
    from sparsedense.retrieval.queries import retrieve
    from sparsedense.training.run import finetune, pretrain, train

__version__ = "0.1.0"

_HOMES = {
    "make_actors": "sparsedense.actors.dataset",
    "Experiment": "sparsedense.config",
    "load_experiment": "sparsedense.config",
    "inspect_store": "sparsedense.data.inspect",
    "prepare": "sparsedense.data.prepare",
    "FrameStore": "sparsedense.data.store",
    "evaluate": "sparsedense.evaluation.evaluate",
    "probe": "sparsedense.evaluation.probe",
    "run_demo": "sparsedense.experiments.demo",
    "run_study": "sparsedense.experiments.study",
    "load_study": "sparsedense.experiments.study_config",
    "export_model": "sparsedense.export.export_model",
    "load_exported": "sparsedense.export.exported_model",
    "load_model": "sparsedense.prediction.video_recogniser",
    "write_report": "sparsedense.report.page",
    "build_index": "sparsedense.retrieval.build",
    "load_index": "sparsedense.retrieval.index",
    "retrieve": "sparsedense.retrieval.queries",
    "finetune": "sparsedense.training.run",
    "pretrain": "sparsedense.training.run",
    "train": "sparsedense.training.run",
}

__all__ = [
    "Experiment",
    "FrameStore",
    "build_index",
    "evaluate",
    "export_model",
    "finetune",
    "inspect_store",
    "load_experiment",
    "load_exported",
    "load_index",
    "load_model",
    "load_study",
    "make_actors",
    "prepare",
    "pretrain",
    "probe",
    "retrieve",
    "run_demo",
    "run_study",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    if name not in _HOMES:
        raise AttributeError(f"module 'sparsedense' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
