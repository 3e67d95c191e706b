import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from sparsedense.config import Experiment, experiment_to_dict
from sparsedense.data import remote_store
from sparsedense.data.store import FrameStore
from sparsedense.models.model_file import load_model, read_provenance
from sparsedense.prediction.video_recogniser import load_model as load_video_recogniser
from sparsedense.training.checkpoint_files import BEST, STATE, list_checkpoints
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.run import TrainingRun, finetune, pretrain, train
from sparsedense.training.run_folder import RunFolderError
from sparsedense.training.run_settings import SettingsChangedError
from tests.conftest import MOTIONS, TRAIN_PER_CLASS, UNLABELLED, tiny_experiment

TIMING = ("clips_per_second", "data_wait")


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["kind"] == kind]


def without_timing(run: Path) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING} for line in every]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def test_a_store_at_a_url_trains_the_same_weights(
    pretrained: TrainingRun, squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_store, "DEFAULT_CACHE", tmp_path / "cache")
    run = pretrain(squares_path.as_uri(), tmp_path / "run", tiny_experiment(), progress=False)
    assert_same_weights(run.model, pretrained.model)
    assert json.loads((run.path / "environment.json").read_text())["store"]["name"] == squares_path.name
    assert list((tmp_path / "cache").rglob("shard-000000.tar"))


def test_a_pretraining_leaves_its_folder(pretrained: TrainingRun) -> None:
    assert pretrained.model == pretrained.path / "model.safetensors"
    assert pretrained.best_accuracy is None
    assert pretrained.seconds > 0
    for name in ("config.yaml", "metrics.jsonl", "environment.json", "model.safetensors"):
        assert (pretrained.path / name).is_file(), name
    assert [step for step, _ in list_checkpoints(pretrained.path / "checkpoints", STATE)] == [6, 3], "after each epoch"
    assert list(pretrained.path.glob("tensorboard/**/events.out.tfevents*"))
    model = load_model(pretrained.model)
    assert model.classifier is None
    assert model.speed_head is not None
    assert model.clips["length"] == 8


def test_the_model_tells_the_size_of_the_frames_that_it_learnt_from(
    pretrained: TrainingRun, squares: FrameStore
) -> None:
    assert load_video_recogniser(pretrained.model).short_side == squares.short_side


def test_a_finetuning_leaves_its_folder(finetuned: TrainingRun, pretrained: TrainingRun) -> None:
    assert list_checkpoints(finetuned.path / "checkpoints", BEST)
    model = load_model(finetuned.model)
    assert model.class_names == tuple(MOTIONS)
    early = finetuned.path / "model-epoch-001.safetensors"
    assert read_provenance(early)["epochs_done"] == 1
    assert load_model(early).class_names == tuple(MOTIONS)
    assert not (finetuned.path / "model-epoch-002.safetensors").exists()
    assert json.loads((finetuned.path / "environment.json").read_text())["init"] == str(pretrained.model)
    assert finetuned.best_accuracy == max(line["accuracy"] for line in lines(finetuned.path, "validation"))


def test_the_configuration_written_is_the_one_used(pretrained: TrainingRun) -> None:
    assert yaml.safe_load((pretrained.path / "config.yaml").read_text()) == experiment_to_dict(tiny_experiment())


def test_the_environment_tells_machine_data_and_time(pretrained: TrainingRun) -> None:
    environment = json.loads((pretrained.path / "environment.json").read_text())
    assert {"sparsedense", "python", "torch", "lightning", "platform", "cpu", "cores", "gpu", "command"} <= set(
        environment
    )
    assert environment["phase"] == "pretrain"
    assert environment["seconds"] == pretrained.seconds
    assert environment["store"] == {
        "name": "store", "short_side": 40, "videos": 32, "median_frames": 48.5, "classes": 3, "too_short": 1,
        "list_mismatches": {}, "splits": {"test": 10, "train": 12, "unlabelled": 7, "val": 3},
    }  # fmt: skip
    provenance = read_provenance(pretrained.model)
    assert provenance["store"] == environment["store"]
    assert provenance["experiment"]["clips"]["size"] == 16  # type: ignore[index]


def test_the_metrics_of_a_pretraining(pretrained: TrainingRun) -> None:
    assert lines(pretrained.path, "validation") == []
    steps = (3 * TRAIN_PER_CLASS + UNLABELLED) // 6
    for epoch, line in enumerate(lines(pretrained.path, "train")):
        assert (line["epoch"], line["step"]) == (epoch, steps * (epoch + 1))
        assert set(line) == {
            "kind", "epoch", "step", "loss", "loss_speed", "loss_consistency", "speed_accuracy", "weight_speed",
            "weight_consistency", "weight_classification", "learning_rate", *TIMING, "gradient_speed",
            "gradient_consistency", "guess_speed", "feature_std", "effective_rank",
        }  # fmt: skip
        assert line["guess_speed"] == pytest.approx(math.log(2))
        assert min(line["gradient_speed"], line["gradient_consistency"]) > 0
        assert 1 <= line["effective_rank"] <= 24
        assert line["loss"] == pytest.approx(line["loss_speed"] + line["loss_consistency"], rel=1e-5)
        assert 0 <= line["speed_accuracy"] <= 1
        assert 0 <= line["data_wait"] <= 1
        assert line["clips_per_second"] > 0
    assert epoch == 1


def test_the_metrics_of_a_finetuning(finetuned: TrainingRun) -> None:
    train_lines, validation_lines = lines(finetuned.path, "train"), lines(finetuned.path, "validation")
    assert [line["epoch"] for line in train_lines] == [line["epoch"] for line in validation_lines] == [0, 1]
    assert {"loss", "loss_classification"} <= set(train_lines[0])
    assert "loss_speed" not in train_lines[0]
    for line in validation_lines:
        assert set(line) == {"kind", "epoch", "step", "loss", "accuracy", "accuracy_top5", "f1"}
        assert line["accuracy_top5"] == 1


def test_the_curriculum_passes_through_its_three_phases(squares_path: Path, tmp_path: Path) -> None:
    run = train(squares_path, tmp_path / "run", tiny_experiment(), progress=False)
    done = lines(run.path, "train")
    losses = [{key.removeprefix("loss_") for key in line if key.startswith("loss_")} for line in done]
    assert losses[0] == {"speed"}
    assert losses[1] == losses[2] == {"consistency"}
    assert all("classification" in present for present in losses[3:])
    per_epoch = [later["step"] - earlier["step"] for earlier, later in zip([{"step": 0}, *done], done, strict=False)]
    assert per_epoch == [3, 3, 2, 2, 2, 2], "18 videos, then the 12 that have labels"
    model = load_model(run.model)
    assert model.classifier is not None
    assert model.speed_head is not None


@pytest.mark.parametrize("objective", [{"speed": {"weight": 0.0}}, {"consistency": {"weight": 0.0}}])
def test_the_curriculum_does_with_one_of_its_pretexts(
    squares_path: Path, tmp_path: Path, objective: dict[str, float]
) -> None:
    experiment = tiny_experiment(objective=objective, train={"epochs": 3})
    run = train(squares_path, tmp_path / "run", experiment, progress=False)
    (left_out,) = objective
    assert all(f"loss_{left_out}" not in line for line in lines(run.path, "train"))
    assert len(lines(run.path, "train")) == 3


def test_few_videos_are_learnt_by_heart(squares_path: Path, tmp_path: Path) -> None:
    settings = {"epochs": 20, "batch_size": 6, "learning_rate": 0.01}
    unvaried = {"crop_area": [1.0, 1.0], "brightness": 0.0, "hue_degrees": 0.0, "grey_probability": 0.0}
    one_step = tiny_experiment(finetune=settings | {"epochs": 1, "steps_per_epoch": 1}, augment=unvaried)
    untaught = finetune(squares_path, tmp_path / "untaught", one_step, progress=False)
    (first_loss,) = [line["loss"] for line in lines(untaught.path, "train")]
    assert first_loss == pytest.approx(1.0986, abs=0.05), "ln 3 before anything is learnt"
    run = finetune(squares_path, tmp_path / "run", tiny_experiment(finetune=settings, augment=unvaried), progress=False)
    assert lines(run.path, "train")[-1]["loss"] < 0.5 * first_loss


def test_the_same_seed_gives_the_same_run(squares_path: Path, pretrained: TrainingRun, tmp_path: Path) -> None:
    again = pretrain(squares_path, tmp_path / "again", tiny_experiment(), progress=False)
    assert_same_weights(pretrained.model, again.model)
    assert without_timing(pretrained.path) == without_timing(again.path)
    other = pretrain(squares_path, tmp_path / "other", tiny_experiment(seed=1), progress=False)
    assert without_timing(other.path) != without_timing(again.path)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_resumed_run_equals_the_uninterrupted_one(squares_path: Path, tmp_path: Path, keep: str) -> None:
    def settings(epochs: int) -> Experiment:
        return tiny_experiment(finetune={"epochs": epochs, "keep": keep})

    whole = finetune(squares_path, tmp_path / "whole", settings(3), keep_epochs=(1, 3), progress=False)
    finetune(squares_path, tmp_path / "parts", settings(1), progress=False)
    resumed = finetune(squares_path, tmp_path / "parts", settings(3), resume=True, progress=False)
    assert without_timing(whole.path) == without_timing(resumed.path)
    assert_same_weights(whole.model, resumed.model)
    assert whole.best_accuracy == resumed.best_accuracy
    kept = {"best": "model-epoch-001.safetensors", "last": "model-epoch-003.safetensors"}[keep]
    assert_same_weights(whole.model, whole.path / kept)
    if keep == "best":
        accuracies = [line["accuracy"] for line in lines(whole.path, "validation")]
        assert max(accuracies[1:]) <= accuracies[0], "the case that matters: the best epoch is before the interruption"


def test_a_run_that_broke_off_goes_on(
    squares_path: Path, pretrained: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_step = SparseDenseModule.training_step

    def broken(self: SparseDenseModule, batch: Any, batch_index: int) -> Tensor:
        if self.current_epoch == 1 and batch_index == 1:
            raise RuntimeError("out of memory")
        return training_step(self, batch, batch_index)

    with monkeypatch.context() as patch:
        patch.setattr(SparseDenseModule, "training_step", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            pretrain(squares_path, tmp_path / "run", tiny_experiment(), progress=False)
    with pytest.raises(SettingsChangedError, match=r"run was begun with other settings: experiment\.seed: 0 -> 1"):
        pretrain(squares_path, tmp_path / "run", tiny_experiment(seed=1), resume=True, progress=False)
    (tmp_path / "run").rename(tmp_path / "moved")
    newest = list_checkpoints(tmp_path / "moved" / "checkpoints", STATE)[0].path
    damaged = newest.with_name("step-000000004-0123456789abcdef.ckpt")
    damaged.write_bytes(newest.read_bytes())
    with pytest.warns(UserWarning, match=rf"{damaged} is damaged"):
        resumed = pretrain(squares_path, tmp_path / "moved", tiny_experiment(), resume=True, progress=False)
    assert not damaged.exists()
    assert_same_weights(pretrained.model, resumed.model)
    # Nothing is left to do.
    again = pretrain(squares_path, tmp_path / "moved", tiny_experiment(), resume=True, progress=False)
    assert_same_weights(pretrained.model, again.model)
    assert without_timing(pretrained.path) == without_timing(resumed.path)


def test_a_run_is_not_overwritten_unasked(squares_path: Path, tmp_path: Path) -> None:
    experiment = tiny_experiment(pretrain={"epochs": 1})
    with pytest.raises(RunFolderError, match=r"run: there is no checkpoint yet; run without --resume"):
        pretrain(squares_path, tmp_path / "run", experiment, resume=True, progress=False)
    pretrain(squares_path, tmp_path / "run", experiment, progress=False)
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    with pytest.raises(RunFolderError, match=r"run holds a run already; .*--resume or --overwrite"):
        pretrain(squares_path, tmp_path / "run", experiment, progress=False)
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before
    pretrain(squares_path, tmp_path / "run", experiment, overwrite=True, progress=False)
    assert len(lines(tmp_path / "run", "train")) == 1


def test_overwriting_leaves_nothing_of_the_old_run(squares_path: Path, tmp_path: Path) -> None:
    old = tiny_experiment(finetune={"epochs": 1})
    run = finetune(squares_path, tmp_path / "run", old, keep_epochs=(1,), progress=False)
    (run.path / "evaluation.json").write_text("{}")
    pretrain(squares_path, run.path, tiny_experiment(pretrain={"epochs": 1}), overwrite=True, progress=False)
    assert not (run.path / "model-epoch-001.safetensors").exists()
    assert not (run.path / "evaluation.json").exists()
    assert len(list(run.path.glob("tensorboard/**/events.out.tfevents*"))) == 1


def refusing_trainer(*_: Any, **__: Any) -> None:
    raise ValueError("gradient_clip_val does not do")


def test_a_wrong_start_is_told_before_the_old_run_is_touched(
    squares_path: Path, pretrained: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finetune(squares_path, tmp_path / "run", tiny_experiment(finetune={"epochs": 1}), progress=False)
    residual = tiny_experiment(model={"input": "residual"})
    with pytest.raises(ValueError, match=r"has the encoder .*input='rgb'.* asks for .*input='residual'.*--model\.\*"):
        finetune(squares_path, run.path, residual, init=pretrained.model, overwrite=True, progress=False)
    monkeypatch.setattr("lightning.pytorch.accelerators.CUDAAccelerator.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"--machine\.accelerator cuda: no such device"):
        finetune(squares_path, run.path, tiny_experiment(machine={"accelerator": "cuda"}), overwrite=True)
    # What only Lightning refuses.
    monkeypatch.setattr("sparsedense.training.run.build_trainer", refusing_trainer)
    with pytest.raises(ValueError, match="gradient_clip_val"):
        finetune(squares_path, run.path, tiny_experiment(), overwrite=True)
    assert (run.path / "metrics.jsonl").is_file()
    assert run.model.is_file()


def test_finetuning_starts_from_the_pretrained_encoder(
    squares_path: Path, pretrained: TrainingRun, tmp_path: Path
) -> None:
    still = tiny_experiment(finetune={"epochs": 1, "learning_rate": 1e-12})
    started = finetune(squares_path, tmp_path / "init", still, init=pretrained.model, progress=False)
    scratch = finetune(squares_path, tmp_path / "scratch", still, progress=False)
    expected = dict(load_model(pretrained.model).named_parameters())
    for run, same in ((started, True), (scratch, False)):
        found = dict(load_model(run.model).named_parameters())
        assert ("speed_head.linear.weight" in found) is same, "classification alone trains no speed head"
        for name in ("encoder.backbone.stem.0.weight", "speed_head.linear.weight"):
            if name in found:
                assert torch.allclose(found[name], expected[name], atol=1e-6) is same, (run.path.name, name)
    batches = "encoder.backbone.stem.1.num_batches_tracked"
    before, after = (int(load_file(run.model)[batches]) for run in (pretrained, started))
    assert after == before + 2, "BatchNorm goes on learning: the loaded model is in training mode"


SPEED_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "binary": ({}, {}, 2),
    "ranking": ({"kind": "ranking"}, {}, 1),
    "n-way": ({"kind": "n_way"}, {"other_skip_ratios": [2.0, 3.0]}, 4),
}


@pytest.mark.parametrize(("old", "new"), [(None, "binary"), ("binary", "ranking"), ("n-way", "binary")])
def test_a_speed_head_that_does_not_fit_is_a_new_one(
    squares_path: Path, tmp_path: Path, old: str | None, new: str
) -> None:
    def settings(kind: str) -> Experiment:
        speed, clips, _ = SPEED_KINDS[kind]
        phase = {"epochs": 1, "steps_per_epoch": 1, "learning_rate": 1e-12}
        objective = {"speed": {"weight": 1.0} | speed, "consistency": {"weight": 0.0}}
        return tiny_experiment(objective=objective, clips=clips, pretrain=phase, train=phase, finetune=phase)

    begin = settings(old or "binary")
    first = (pretrain if old else finetune)(squares_path, tmp_path / "first", begin, progress=False)
    head = load_model(first.model).speed_head
    assert (None if head is None else head.num_speeds) == (SPEED_KINDS[old][2] if old else None)
    run = train(squares_path, tmp_path / "run", settings(new), init=first.model, progress=False)
    renewed = load_model(run.model)
    assert renewed.speed_head is not None
    assert renewed.speed_head.num_speeds == SPEED_KINDS[new][2]
    stem = "encoder.backbone.stem.0.weight"
    assert torch.allclose(load_file(run.model)[stem], load_file(first.model)[stem], atol=1e-6)


def test_a_speed_head_that_fits_is_kept(squares_path: Path, pretrained: TrainingRun, tmp_path: Path) -> None:
    still = tiny_experiment(pretrain={"epochs": 1, "learning_rate": 1e-12})
    run = pretrain(squares_path, tmp_path / "run", still, init=pretrained.model, progress=False)
    name = "speed_head.linear.weight"
    assert torch.allclose(load_file(run.model)[name], load_file(pretrained.model)[name], atol=1e-6)


def test_the_recipes_dropout_counts_for_a_classifier_that_is_kept(
    squares_path: Path, finetuned: TrainingRun, tmp_path: Path
) -> None:
    phase = {"epochs": 1, "steps_per_epoch": 1, "learning_rate": 1e-12}
    settings = tiny_experiment(objective={"dropout": 0.4}, finetune=phase)
    run = finetune(squares_path, tmp_path / "run", settings, init=finetuned.model, progress=False)
    before, after = load_model(finetuned.model).classifier, load_model(run.model).classifier
    assert before is not None
    assert after is not None
    assert (before.dropout.p, after.dropout.p) == (0.0, 0.4)
    assert torch.allclose(after.linear.weight, before.linear.weight, atol=1e-6)


def test_clips_that_do_not_do_are_told_before_the_old_run_is_touched(squares_path: Path, tmp_path: Path) -> None:
    run = pretrain(squares_path, tmp_path / "run", tiny_experiment(pretrain={"epochs": 1}), progress=False)
    with pytest.raises(ValueError, match=r"clips\.length \(10\)"):
        pretrain(squares_path, run.path, tiny_experiment(clips={"length": 10, "skip_ratio": 2.0}), overwrite=True)
    assert run.model.is_file()


def test_both_starts_get_the_same_videos_in_the_same_order(
    squares: FrameStore, pretrained: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a comparison of arms rests on."""
    seen: list[list[Any]] = [[], []]
    training_step = SparseDenseModule.training_step
    for arm, init in enumerate((None, pretrained.model)):

        def spy(self: SparseDenseModule, batch: Any, index: int, arm: int = arm) -> Tensor:
            seen[arm] += [batch["video_id"].tolist(), batch["dense_indices"].tolist(), batch["position"].tolist()]
            return training_step(self, batch, index)

        monkeypatch.setattr(SparseDenseModule, "training_step", spy)
        settings = tiny_experiment(labels_per_class=2, finetune={"epochs": 2, "batch_size": 3})
        finetune(squares.path, tmp_path / str(arm), settings, init=init, progress=False)
    assert len(seen[0]) == 12
    assert seen[0] == seen[1]


@pytest.mark.parametrize("schedule", ["paper", "cosine", "constant"])
def test_a_training_ends_with_every_schedule_of_its_rate(squares_path: Path, tmp_path: Path, schedule: str) -> None:
    phase = {"epochs": 2, "steps_per_epoch": 1, "rate_schedule": schedule}
    run = finetune(squares_path, tmp_path / "run", tiny_experiment(finetune=phase), progress=False)
    assert run.model.is_file()
