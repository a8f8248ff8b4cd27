# SPDX-License-Identifier: Apache-2.0
"""A sweep finishes what it can, does nothing twice, names what failed, and stops when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vltseg_core.config import DEFAULT_PRESET, PRESETS
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.datamodule import SourcesDataModule
from vltseg_core.training.sweep import FAILED, FINISHED, Sweep, SweepSettings
from vltseg_core.training.sweep_command import _settings
from vltseg_core.training.sweep_plan import read_plan
from vltseg_core.training.sweep_table import write_table

FAKE = str(Path(__file__).with_name("fake_training.py"))
ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> SweepSettings:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {}\n")
    plan = read_plan(None, recipe, ["model.ptm_weight=0.1,1.0", "seed_everything=0,1"])
    return SweepSettings(
        plan,
        data=("camvid=/data",),
        targets=("camvid:train_dusk=/data",),
        output=tmp_path / "sweep",
        train_command=(sys.executable, FAKE, "train"),
        evaluate_command=(sys.executable, FAKE, "evaluate"),
    )


def with_axes(settings: SweepSettings, *axes: str) -> SweepSettings:
    return replace(settings, plan=read_plan(None, settings.plan.recipe, axes))


def num_trainings(settings: SweepSettings) -> int:
    return sum(path.read_text().count("train") for path in settings.output.glob("runs/*/calls.txt"))


def test_every_combination_is_trained_evaluated_and_in_the_table(settings: SweepSettings) -> None:
    rows = Sweep(settings).run(lambda rows: write_table(settings, rows, 4))
    assert [row.status for row in rows.values()] == [FINISHED] * 4
    table = json.loads((settings.output / "table.json").read_text())
    assert table["axes"] == ["model.ptm_weight", "seed_everything"]
    scores = {tuple(row["settings"].values()): row["scores"]["camvid:train_dusk"]["miou"] for row in table["rows"]}
    assert scores == pytest.approx({("0.1", "0"): 0.41, ("0.1", "1"): 0.42, ("1.0", "0"): 0.5, ("1.0", "1"): 0.51})
    lines = (settings.output / "table.md").read_text().splitlines()
    assert "| 0.1 | 2 | 41.5 ± 0.7 |" in lines and "| 1.0 | 2 | 50.5 ± 0.7 |" in lines
    log = (settings.output / "runs/model.ptm_weight=1.0,seed_everything=1/run.log").read_text()
    assert "--data camvid=/data --model.ptm_weight=1.0 --seed_everything=1" in log and "--resume" in log


def test_what_is_finished_is_not_done_again_and_new_values_and_targets_are_added(settings: SweepSettings) -> None:
    Sweep(settings).run(lambda rows: None)
    Sweep(settings).run(lambda rows: None)
    assert num_trainings(settings) == 4
    more = with_axes(settings, "model.ptm_weight=0.1,1.0,2.0", "seed_everything=0,1")
    more = replace(more, targets=(*settings.targets, "kitti=/kitti"))
    rows = Sweep(more).run(lambda rows: None)
    assert num_trainings(settings) == 6 and len(rows) == 6
    assert all(set(row.scores) == {"camvid:train_dusk", "kitti"} for row in rows.values())


def test_a_failed_run_is_named_and_the_others_go_on(settings: SweepSettings) -> None:
    failing = with_axes(settings, "model.ptm_weight=9,1.0")
    rows = Sweep(failing).run(lambda rows: write_table(failing, rows, 2))
    assert {name: row.status for name, row in rows.items()} == {"model.ptm_weight=9": FAILED, "model.ptm_weight=1.0": FINISHED}
    table = (failing.output / "table.md").read_text()
    assert "- failed: model.ptm_weight=9: training ended with exit code 1: error: the loss is not a number (log: " in table
    assert "1 of 2 runs finished" in table
    Sweep(failing).run(lambda rows: None)
    assert num_trainings(failing) == 3  # the failed one was tried again


def test_weights_that_cannot_be_evaluated_are_a_failed_row_and_not_trained_again(settings: SweepSettings) -> None:
    broken = replace(settings, evaluate_command=(sys.executable, "-c", "raise SystemExit('error: no such target')"))
    rows = Sweep(broken).run(lambda rows: None)
    assert {row.problem for row in rows.values()} == {"evaluation ended with exit code 1: error: no such target"}
    assert [row.status for row in Sweep(settings).run(lambda rows: None).values()] == [FINISHED] * 4
    assert num_trainings(settings) == 4


def test_a_folder_keeps_to_one_sweep_at_a_time(settings: SweepSettings) -> None:
    Sweep(settings).run(lambda rows: None)
    with pytest.raises(ConfigurationError, match="holds a sweep with other options: give its own, or another --output"):
        Sweep(replace(settings, options=("--trainer.max_steps=1",))).run(lambda rows: None)
    with pytest.raises(ConfigurationError, match="a sweep, or a training run that one left behind, is at work"):
        Sweep(settings).run(lambda rows: Sweep(settings).run(lambda _: None) and None)


def test_a_name_keeps_its_meaning(settings: SweepSettings, tmp_path: Path) -> None:
    texts = tmp_path / "texts.safetensors"
    texts.write_text("one")
    (tmp_path / "other").mkdir()
    axes = ("model.ptm_weight=1", f"model.class_embeddings={texts}")
    Sweep(with_axes(settings, *axes)).run(lambda rows: None)
    with pytest.raises(ConfigurationError, match=r"results of 'camvid:train_dusk' with camvid:train_dusk=/data, which is now"):
        Sweep(replace(with_axes(settings, *axes), targets=("camvid:train_dusk=/other",))).run(lambda rows: None)
    moved = texts.rename(tmp_path / "other" / texts.name)
    other_file = (axes[0], f"model.class_embeddings={moved}")
    with pytest.raises(ConfigurationError, match="name it otherwise, or give another --output"):
        Sweep(with_axes(settings, *other_file)).run(lambda rows: None)
    texts.write_text("another")
    with pytest.raises(ConfigurationError, match=r"results of 'model.ptm_weight=1,model.class_embeddings=texts' with"):
        Sweep(with_axes(settings, *axes)).run(lambda rows: None)
    texts.unlink()
    assert len(Sweep(with_axes(settings, *axes)).run(lambda rows: None)) == 1  # there to be seen without it
    texts.write_text("one")
    rows = Sweep(with_axes(settings, *axes)).run(lambda rows: None)
    assert [row.status for row in rows.values()] == [FINISHED] and num_trainings(settings) == 1


def test_a_target_keeps_its_folder_for_runs_of_other_values_too(settings: SweepSettings) -> None:
    Sweep(with_axes(settings, "model.ptm_weight=1")).run(lambda rows: None)
    with pytest.raises(ConfigurationError, match="results of 'camvid:train_dusk'"):
        Sweep(replace(with_axes(settings, "model.ptm_weight=2"), targets=("camvid:train_dusk=/other",))).run(lambda rows: None)


def test_a_run_that_has_a_checkpoint_keeps_its_settings(settings: SweepSettings, tmp_path: Path) -> None:
    texts = tmp_path / "texts.safetensors"
    texts.write_text("one")
    failing = with_axes(settings, "model.ptm_weight=9", f"model.class_embeddings={texts}")
    Sweep(failing).run(lambda rows: None)
    (run,) = failing.plan.runs()
    checkpoint = failing.output / "runs" / run.name / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    texts.write_text("another")
    with pytest.raises(ConfigurationError, match="name it otherwise, or give another --output"):
        Sweep(failing).run(lambda rows: None)


def test_what_gave_no_result_may_be_mended(settings: SweepSettings, tmp_path: Path) -> None:
    texts = tmp_path / "texts.safetensors"
    texts.write_text("broken")
    failing = with_axes(settings, "model.ptm_weight=9", f"model.class_embeddings={texts}")
    assert [row.status for row in Sweep(failing).run(lambda rows: None).values()] == [FAILED]
    texts.write_text("mended")
    Sweep(replace(failing, targets=("camvid:train_dusk=/other",))).run(lambda rows: None)


def test_what_is_for_train_py_goes_to_it_and_a_target_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    given = ["--recipe", str(tmp_path / "recipe.yaml"), "--axis", "a=1,2", "--target", "demo:clear", "--validate", "kitti=/k"]
    settings = _settings([*given, "acdc=/a", "--trainer.max_steps", "5"], ("train.py",))
    assert settings.options == ("--validate=kitti=/k", "--validate=acdc=/a", "--trainer.max_steps=5")
    with pytest.raises(ConfigurationError, match="--target demo:clear is given twice"):
        _settings([*given, "--target", "demo:clear"], ("train.py",))


def test_a_sweep_does_not_go_on_with_another_network_by_the_same_name(
    settings: SweepSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sweep(settings).run(lambda rows: None)
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], crop_size=64))  # no run of it
    Sweep(settings).run(lambda rows: None)
    monkeypatch.setitem(PRESETS, DEFAULT_PRESET, replace(PRESETS[DEFAULT_PRESET], crop_size=64))
    with pytest.raises(ConfigurationError, match="whose presets may be other networks: go on with that version"):
        Sweep(settings).run(lambda rows: None)
    assert num_trainings(settings) == 4


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        (lambda kept: kept.pop("networks"), True),
        (lambda kept: kept["networks"].pop(DEFAULT_PRESET), False),
        (lambda kept: kept["networks"][DEFAULT_PRESET]["inference"].pop("max_input_pixels"), False),
        (lambda kept: kept["networks"][DEFAULT_PRESET].update(unheard_of=1), True),
    ],
)
def test_a_sweep_of_another_version_goes_on_where_its_networks_are_the_same(
    settings: SweepSettings, change: Callable[[dict[str, Any]], object], is_refused: bool
) -> None:
    Sweep(settings).run(lambda rows: None)
    record = settings.output / "sweep.json"
    kept = json.loads(record.read_text())
    change(kept)
    record.write_text(json.dumps(kept))
    with pytest.raises(ConfigurationError, match="another version") if is_refused else nullcontext():
        Sweep(settings).run(lambda rows: None)
    assert is_refused or DEFAULT_PRESET in json.loads(record.read_text())["networks"]


def test_the_presets_of_a_sweep_are_those_that_its_runs_take(settings: SweepSettings) -> None:
    assert settings.plan.presets() == [DEFAULT_PRESET]
    settings.plan.recipe.write_text("model: {preset: tiny}\n")
    assert settings.plan.presets() == ["tiny"]
    assert with_axes(settings, "model.preset=clip_b,deit3_b").plan.presets() == ["clip_b", "deit3_b"]
    assert settings.plan.presets(["--model.preset", "clip_l"]) == ["clip_l"]
    assert with_axes(settings, "model.preset=clip_b").plan.presets(["--model.preset=clip_l"]) == ["clip_b"]
    assert settings.plan.presets(["--model.pretrained", "openai"]) == ["tiny"]
    assert settings.plan.presets(["--model", '{"preset": "clip_b", "ptm_weight": 0}']) == ["clip_b"]
    assert settings.plan.presets(["--model={'initial_weights': 'runs/preset: x',\n 'preset': 'clip_b'}"]) == ["clip_b"]
    assert settings.plan.presets(["--model={ptm_weight: 0}"]) == settings.plan.presets(["--model={"]) == ["tiny"]
    second = settings.plan.recipe.with_name("second.yaml")
    second.write_text("model: {preset: clip_l}\n")
    assert settings.plan.presets([f"--config={second}"]) == ["clip_l"]
    assert settings.plan.presets(["--model", str(second), "--config", "nowhere.yaml"]) == ["tiny"]


COMMAND = f"""
import sys
from vltseg_core.training.sweep_command import run
sys.exit(run(sys.argv[1:], (sys.executable, {FAKE!r}, "train")))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_the_run_save_and_ends_with_a_sentence(settings: SweepSettings, number: int, tmp_path: Path) -> None:
    command = [
        sys.executable, "-c", COMMAND, "--recipe", str(settings.plan.recipe), "--axis", "model.ptm_weight=1,2", "--wait", "yes",
        "--data.weights={demo: 1.0}",
        "--target", "demo:clear", "--output", str(settings.output),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT)
    log = settings.output / "runs/model.ptm_weight=1/run.log"
    deadline = time.monotonic() + 100
    while not (log.is_file() and "training begins" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped: the same command goes on in" in said and "Traceback" not in said
    assert "--wait=yes --data.weights={demo: 1.0} --model.ptm_weight=1" in log.read_text()
    assert (log.parent / "half.ckpt").is_file()
    assert not (settings.output / "runs/model.ptm_weight=2/calls.txt").exists()


def test_a_sweep_file_s_axes_are_values_or_groups_of_settings(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "recipe: recipe.yaml\naxes:\n  encoder: {base: {model.preset: clip_b, model.pretrained: openai}}\n"
        "  sources: {both: {data.weights: {gta5: 0.5, synthia: 0.5}}}\n"
        "  model.class_embeddings: [minilm, texts/one.safetensors]\n"
    )
    first, second = read_plan(path, None, []).runs()
    assert first.options == (
        "--model.preset=clip_b", "--model.pretrained=openai", '--data.weights={"gta5": 0.5, "synthia": 0.5}',
        "--model.class_embeddings=minilm",
    )  # fmt: skip
    assert second.name == "encoder=base,sources=both,model.class_embeddings=one"
    replaced = read_plan(path, None, ["model.class_embeddings=minilm"]).runs()
    assert len(replaced) == 1


def test_the_sweep_files_that_come_with_the_package_are_whole() -> None:
    for path in sorted((ROOT / "training/sweeps").glob("*.yaml")):
        plan = read_plan(path, None, [])
        assert len(plan.runs()) >= 9, path
        assert len(Sweep(SweepSettings(plan, (), ("demo:clear",), path.parent, ()))._named()["runs"]) == len(plan.runs())


def test_a_seed_s_axis_takes_the_place_of_any_seed_s() -> None:
    plan = read_plan(ROOT / "training/sweeps/prompts.yaml", None, ["seed_everything=0,1"])
    assert [axis.name for axis in plan.axes] == ["model.class_embeddings", "seed_everything"] and len(plan.runs()) == 8
    both = read_plan(ROOT / "training/sweeps/prompts.yaml", None, ["seed_everything=0,1", "data.seed=5,6"])
    assert len(both.runs()) == 16


def test_the_sweep_over_sources_trains_each_row_on_what_it_is_named_after(tmp_path: Path) -> None:
    drawn = {}
    for run in read_plan(ROOT / "training/sweeps/sources.yaml", None, []).runs():
        weights = json.loads(run.options[0].removeprefix("--data.weights="))
        drawn[run.settings["sources"]] = SourcesDataModule(dict.fromkeys(("gta5", "synthia"), str(tmp_path)), weights=weights)
    names = {label: data.source_names for label, data in drawn.items()}
    assert names == {"gta5": ["gta5"], "synthia": ["synthia"], "gta5+synthia": ["gta5", "synthia"]}


@pytest.mark.parametrize(
    ("axes", "text", "sentence"),
    [
        ([], "axes: {}", "a sweep needs an axis"),
        (["ptm"], "axes: {}", "--axis takes SETTING=VALUE,VALUE, not 'ptm'"),
        ([], "axes: {a: 3}", "axis 'a' is neither a list of values nor settings by label"),
        ([], "axis: {a: [3]}", "must hold 'axes', and 'recipe' if any"),
        (["a=x/t.safetensors,y/t.safetensors"], "axes: {}", "two values of axis 'a' would have one label"),
        ([], "axes: {a: {1: {b: 2}, '1': {b: 3}}}", "two values of axis 'a' would have one label"),
        ([], "axes: {a: [x/y, x y]}", "two runs of the sweep would have one name"),
    ],
)
def test_plans_that_are_none_are_said_in_a_sentence(axes: list[str], text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=sentence):
        read_plan(path, path, axes).runs()
