# SPDX-License-Identifier: Apache-2.0
"""A temperature: found where it was put, kept in the weights, changing no label."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vltseg_core.checkpoints import native
from vltseg_core.config import varied
from vltseg_core.data import demo_images
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import IGNORE
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.weights_path import weights_path
from vltseg_core.training.temperature import divide_mask_logits, fit_temperature

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def drawn() -> EvaluationSet:
    return demo_images.evaluation_set("night", 2)


@pytest.fixture
def network() -> Vltseg:
    return native.load(weights_path("tiny")).network


@pytest.fixture
def without_class_masks(network: Vltseg) -> Vltseg:
    """The same network whose masks are made by the queries alone."""
    other = Vltseg(varied(network.config, {"mask_decoder": {"class_masks": False}}))
    other.load_state_dict({k: v for k, v in network.state_dict().items() if k != "mask_decoder.mask_embedding.weight"})
    return other.eval()


def test_a_temperature_is_found_again_where_it_was_put(network: Vltseg, drawn: EvaluationSet) -> None:
    own = fit_temperature(network, {"drawn": drawn})
    divide_mask_logits(network, 0.2)  # five times as sure
    too_sure = fit_temperature(network, {"drawn": drawn})
    assert too_sure.temperature == pytest.approx(5 * own.temperature, rel=0.01)
    assert too_sure.error_before > 2 * too_sure.error_after
    assert too_sure.error_after == pytest.approx(own.error_after, abs=0.002)
    divide_mask_logits(network, too_sure.temperature)
    assert fit_temperature(network, {"drawn": drawn}).temperature == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("max_input_pixels", [0, 60 * 80])
def test_classes_that_the_truth_does_not_tell_apart_count_together(
    max_input_pixels: int, network: Vltseg, drawn: EvaluationSet
) -> None:
    """Where every class is one of the truth's, the winner is always right, and all that is wrong is its doubt."""
    network.config = varied(network.config, {"inference": {"max_input_pixels": max_input_pixels}})
    one_class = np.zeros(256, np.uint8)
    as_one = drawn._replace(class_names=("anything",), to_truth_classes=one_class, images=_Relabelled(drawn))
    fit = fit_temperature(network, {"drawn": as_one})
    segmenter = Segmenter.load("tiny", max_input_pixels=max_input_pixels)
    results = segmenter.segment([drawn.images[0].image, drawn.images[1].image])
    doubt = 1 - np.mean([result.confidence for result in results]) / 255
    assert doubt > 0.02 and fit.error_before == pytest.approx(doubt, abs=0.01)


class _Relabelled:
    def __init__(self, original: EvaluationSet) -> None:
        self._images = original.images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> LabelledImage:
        frame = self._images[index]
        return frame._replace(codes=np.zeros_like(frame.codes))


def test_nothing_annotated_is_said(network: Vltseg, drawn: EvaluationSet) -> None:
    class Empty(_Relabelled):
        def __getitem__(self, index: int) -> LabelledImage:
            frame = self._images[index]
            return frame._replace(codes=np.full_like(frame.codes, IGNORE))

    with pytest.raises(InputError, match="'drawn' has no annotated pixel"):
        fit_temperature(network, {"drawn": drawn._replace(images=Empty(drawn))})


def test_learned_queries_have_no_temperature() -> None:
    from vltseg_core.checkpoints import published

    mini = published.convert(ROOT / "tests" / "parity" / "mini.pth")
    with pytest.raises(ConfigurationError, match="no masks that compete in a softmax"):
        divide_mask_logits(mini, 2.0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["network", "without_class_masks"])
def test_every_mask_logit_is_divided(name: str, request: pytest.FixtureRequest) -> None:
    network: Vltseg = request.getfixturevalue(name).eval()
    torch.manual_seed(1)
    images = torch.randn(1, 3, 64, 96)
    before = network(images).predictions[-1].mask_logits
    divide_mask_logits(network, 2.0)
    assert torch.allclose(network(images).predictions[-1].mask_logits, before / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(network: Vltseg, temperature: float) -> None:
    with pytest.raises(ConfigurationError, match="not positive"):
        divide_mask_logits(network, temperature)


def test_the_command_writes_weights_with_the_same_labels(tmp_path: Path, drawn: EvaluationSet) -> None:
    too_sure, target = tmp_path / "too_sure.safetensors", tmp_path / "calibrated.safetensors"
    network = native.load(weights_path("tiny")).network
    divide_mask_logits(network, 0.5)
    native.save(network, too_sure, trained_on="streets")
    command = [
        sys.executable,
        "training/calibrate.py",
        str(too_sure),
        "--target",
        "demo:night",
        "--num-demo-images",
        "2",
        "-o",
        str(target),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    temperature = float(done.stdout.split()[1].rstrip(":"))
    image = drawn.images[0].image
    (before,), (after,) = Segmenter.load(too_sure).segment([image]), Segmenter.load(target).segment([image])
    assert (before.labels == after.labels).mean() > 0.9999
    assert temperature > 1.5 and after.confidence.mean() < before.confidence.mean()
    with torch.no_grad():
        expected = network.mask_decoder.mask_head[-1].weight / temperature
    assert torch.allclose(native.load(target).network.mask_decoder.mask_head[-1].weight, expected, rtol=1e-3)


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "training/calibrate.py",
        str(tmp_path / "none.safetensors"),
        "--target",
        "demo",
        "-o",
        "x.safetensors",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
