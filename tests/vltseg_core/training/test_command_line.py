# SPDX-License-Identifier: Apache-2.0
"""A short training run as a user starts it: weights at the end, resumed after a stop, mistakes said in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

ROOT = Path(__file__).parents[3]
SHORT = [
    "--data.batch_size=2", "--data.crop_size=64", "--data.steps_per_epoch=2", "--data.num_workers=0",
    "--data.num_demo_validation_images=1", "--data.weights={demo: 1.0}", "--model.warm_up_steps=2",
]  # fmt: skip


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "training/train.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, cwd=ROOT, check=False)


@pytest.mark.timeout(400)
def test_a_run_writes_weights_that_the_segmenter_loads_and_can_go_on(tmp_path: Path) -> None:
    recipe, output = "training/recipes/tiny.yaml", str(tmp_path / "run")
    first = train(recipe, "--output", output, "--trainer.max_steps=2", *SHORT)
    assert first.returncode == 0, first.stderr[-2000:]
    from vltseg_core.runtime import Segmenter

    assert "demo scenes" in Segmenter.load(tmp_path / "run/model.safetensors", device="cpu").describe().trained_on
    again = train(recipe, "--output", output, "--trainer.max_steps=4", *SHORT)
    assert again.returncode == 1 and "holds a run already: add --resume" in again.stderr
    saved_every = "--trainer.max_steps=4"
    resumed = train(recipe, "--output", output, saved_every, "--resume", *SHORT)
    assert resumed.returncode == 0, resumed.stderr[-2000:]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "usage: train.py RECIPE.yaml"),
        (["no.yaml"], "recipe 'no.yaml' not found"),
        (["training/recipes/tiny.yaml", "--data", "camvid"], "--data takes NAME=FOLDER, not 'camvid'"),
        (["training/recipes/tiny.yaml", "--data", "camvid=/nowhere"], "folder '/nowhere/val/images' is missing"),
        (["training/recipes/tiny.yaml", "--data", "mars=/nowhere"], "unknown data source 'mars'"),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    options = ["--output", str(tmp_path)] if arguments else []
    result = train(*arguments, *options)
    assert result.returncode == 1
    assert sentence in result.stderr and "Traceback" not in result.stderr
