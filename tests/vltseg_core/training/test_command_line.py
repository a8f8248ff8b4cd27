# SPDX-License-Identifier: Apache-2.0
"""A short training run as a user starts it: weights at the end, resumed after a stop, mistakes said in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from vltseg_core.checkpoints import native  # after the skip
from vltseg_core.config import preset, varied
from vltseg_core.errors import VltsegError
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.training.command_line import run
from vltseg_core.training.starting_weights import load_initial_weights

ROOT = Path(__file__).parents[3]
SHORT = [
    "--data.batch_size=2", "--data.crop_size=64", "--trainer.val_check_interval=2", "--data.num_workers=0",
    "--trainer.limit_val_batches=0", "--data.weights={demo: 1.0}", "--model.optimizer.warm_up_steps=2",
]  # fmt: skip


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "training/train.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, cwd=ROOT, check=False)


@pytest.mark.timeout(400)
def test_a_run_writes_weights_that_the_segmenter_loads(tmp_path: Path) -> None:
    second_stage = ("training/recipes/tiny_second_stage.yaml", "--model.initial_weights=tiny")
    result = train(*second_stage, "--output", str(tmp_path / "run"), "--trainer.max_steps=2", *SHORT)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "left out, no folder given" not in result.stdout and f"weights: {tmp_path / 'run/model.safetensors'}" in result.stdout
    assert "2/2 [" in result.stdout  # the progress bar, with the time left
    from vltseg_core.runtime import Segmenter

    trained_on = Segmenter.load(tmp_path / "run/model.safetensors", device="cpu").describe().trained_on
    assert "CamVid" in trained_on and "KITTI" in trained_on and trained_on.count("demo scenes") == 1  # in it from before


def test_weights_are_a_start_however_large_images_entered_before(tmp_path: Path) -> None:
    before = Vltseg(varied(preset("tiny"), {"inference": {"max_input_pixels": 0}}))
    native.save(before, tmp_path / "before.safetensors", trained_on="nothing")
    network = Vltseg(preset("tiny"))
    load_initial_weights(network, tmp_path / "before.safetensors")
    assert network.config == preset("tiny")
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "usage: train.py RECIPE.yaml"),
        (["no.yaml"], "recipe 'no.yaml' not found"),
        (["training/recipes/tiny.yaml", "--data", "camvid"], "--data takes NAME[:SPLIT]=FOLDER, not 'camvid'"),
        (["training/recipes/tiny.yaml", "--data", "camvid=/nowhere"], "folder '/nowhere/train/images' is missing"),
        (["training/recipes/tiny.yaml", "--data", "mars=/nowhere"], "unknown data set 'mars'"),
        (["training/recipes/tiny.yaml", "--data", "folder=/a", "folder=/b"], "--data folder is given twice, as '/a' and as '/b'"),
        (["training/recipes/tiny.yaml", "--data=camvid=/nowhere"], "folder '/nowhere/train/images' is missing"),
        (["training/recipes/tiny.yaml", "--validate=mars=/nowhere"], "unknown data set 'mars'"),
        (["training/recipes/tiny.yaml", "--output"], "--output needs a value"),
        (["training/recipes/tiny.yaml", "--data.weights={camvid: 1}"], "there is nothing to train on"),
        (
            [
                "training/recipes/tiny_second_stage.yaml",
                "--model.initial_weights=tiny",
                "--model.network={mask_decoder: {class_masks: false}}",
            ],
            "is another 'tiny', its mask_decoder.class_masks is True and not False: set it so with --model.network",
        ),
        (
            [
                "training/recipes/tiny_second_stage.yaml",
                "--model.initial_weights=tiny",
                "--model.network={pixel_decoder: null, mask_decoder: null, pixel_text: null, fpn_decoder: {with_score_map: no}}",
            ],
            "is another 'tiny', its pixel_decoder is {'kind': 'fpn'",
        ),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    options = ["--output", str(tmp_path / "run")] if any(a.startswith(("--data", "--validate")) for a in arguments) else []
    with pytest.raises(VltsegError) as error:
        run([*arguments, *options])
    assert sentence in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_mistake_ends_the_command_with_one_line() -> None:
    result = train("no.yaml")
    assert result.returncode == 1 and result.stderr == "error: recipe 'no.yaml' not found: give one of training/recipes/*.yaml\n"
