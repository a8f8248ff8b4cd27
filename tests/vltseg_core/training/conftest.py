# SPDX-License-Identifier: Apache-2.0
"""A miniature CamVid, a recipe that trains on it in a second, and processes that start at once."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

sys.path.insert(0, str(Path(__file__).parent))  # child processes import the helpers beside this file by name
from vltseg_core.training.command_line import run  # after the skip

HEIGHT, WIDTH = 72, 96
RECIPE = {
    "model": {"preset": "tiny", "class_embeddings": "minilm", "class_balance": 0.5, "validation_window": [0, 0]},
    "data": {
        "weights": {"camvid": 1.0}, "batch_size": 2, "image_size": None, "scales": [0.75, 1.5], "crop_size": 64,
        "num_workers": 0, "weather_share": 0.25,
    },
    "run": {"save_every": 2, "ema_decay": 0.9, "num_predictions": 1},
    "trainer": {
        "max_steps": 6, "val_check_interval": 3, "gradient_clip_val": 1.0, "log_every_n_steps": 1, "accelerator": "cpu",
        "enable_progress_bar": False, "enable_model_summary": False,
    },
}  # fmt: skip


def write_camvid(root: Path, num_images: int = 5) -> Path:
    """Stripes of CamVid's classes, coloured by class, in the real layout."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for number in range(num_images):
            labels = np.repeat(rng.integers(0, 11, (HEIGHT // 12, WIDTH // 12), dtype=np.uint8), 12, 0).repeat(12, 1)
            image = np.stack((labels * 20, 255 - labels * 20, labels * 7), -1) + rng.integers(0, 5, (HEIGHT, WIDTH, 3), np.uint8)
            cv2.imwrite(str(root / split / "images" / f"0016E5_{number:05d}.png"), image)
            cv2.imwrite(str(root / split / "labels" / f"0016E5_{number:05d}.png"), labels)
    return root


_NUM_THREADS, _PRECISION = torch.get_num_threads(), torch.get_float32_matmul_precision()


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """So small are the networks that threads only wait for each other. What training sets for its process is undone after."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(_NUM_THREADS)
    torch.set_float32_matmul_precision(_PRECISION)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp("camvid"))


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "mini.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@pytest.fixture
def train(camvid: Path, recipe: Path) -> Callable[..., int]:
    """The training command in this process, on the miniature recipe and data set; gives the exit code."""
    return lambda output, *options: run([str(recipe), "--data", f"camvid={camvid}", "--output", str(output), *options])


@pytest.fixture(scope="session")
def uninterrupted(camvid: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    torch.set_num_threads(1)  # this comes before `_one_thread`
    output = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert run([str(recipe), "--data", f"camvid={camvid}", "--output", str(output)]) == 0
    return output


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model.safetensors")


@pytest.fixture
def same_weights() -> Callable[[Path, Path], bool]:
    """Whether two runs ended with the same weights, to the last bit."""

    def compare(first: Path, second: Path) -> bool:
        ours, theirs = weights(first), weights(second)
        return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

    return compare


@pytest.fixture(scope="session")
def start() -> Callable[..., BaseProcess]:
    """Starts a function in a process of its own, with everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vltseg_core.training.command_line", "scipy.optimize"])

    def begin(target: Callable[..., Any], *arguments: Any) -> BaseProcess:
        process = context.Process(target=target, args=arguments)
        process.start()
        return process

    return begin
