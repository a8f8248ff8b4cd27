# SPDX-License-Identifier: Apache-2.0
"""Scores are made where the published figures were made, and never where they are no numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vltseg_core.checkpoints import native, published
from vltseg_core.config import varied
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.errors import DeviceError
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.semantic_map import best_classes, semantic_scores
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.labelling import labelled
from vltseg_core.runtime.scoring import ClassScores
from vltseg_core.runtime.sliding_window import SlidingWindow
from vltseg_core.runtime.weights_path import WEIGHTS_FOLDER
from vltseg_core.training.validation_images import predict_labels

SIZE = (150, 210)


@pytest.fixture(scope="module")
def network() -> Vltseg:
    return published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")


def _predict(network: Vltseg) -> Callable[[torch.Tensor], MaskPrediction]:
    return lambda images: network(images).predictions[-1]


@torch.no_grad()
@pytest.mark.parametrize("window", [None, SlidingWindow(112)])
def test_a_published_network_s_scores_are_made_at_the_input_s_size_and_then_resized(
    network: Vltseg, window: SlidingWindow | None
) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(1, 3, 70, 98)
    prediction = network(inputs).predictions[-1]
    expected = F.interpolate(semantic_scores(prediction, (70, 98)), SIZE, mode="bilinear")
    at_once = semantic_scores(prediction, SIZE)
    assert torch.allclose(ClassScores(_predict(network), network.config, window, False)(inputs, SIZE), expected, atol=1e-6)
    assert not torch.allclose(expected, at_once, atol=1e-3)


@torch.no_grad()
def test_other_networks_masks_are_resized_to_the_image_at_once(network: Vltseg) -> None:
    config = dataclasses.replace(network.config.image_encoder, partial_patches="resize")
    ours = Vltseg(dataclasses.replace(network.config, image_encoder=config)).eval()
    inputs = torch.randn(1, 3, 70, 98)
    expected = semantic_scores(ours(inputs).predictions[-1], SIZE)
    assert torch.allclose(ClassScores(_predict(ours), ours.config, None, False)(inputs, SIZE), expected, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("window", [None, SlidingWindow(64)])
@pytest.mark.parametrize("partial_patches", ["drop", "resize"])
@pytest.mark.parametrize("size", [SIZE, (70, 98)])
def test_the_best_are_those_of_the_scores(
    network: Vltseg, window: SlidingWindow | None, partial_patches: str, size: tuple[int, int]
) -> None:
    encoder = dataclasses.replace(network.config.image_encoder, partial_patches=partial_patches)
    scores_of = ClassScores(_predict(network), dataclasses.replace(network.config, image_encoder=encoder), window, False)
    torch.manual_seed(0)
    inputs = torch.randn(1, 3, 70, 98)
    expected, found = best_classes(scores_of(inputs, size)), scores_of.best(inputs, size)
    assert torch.allclose(found.scores, expected.scores, atol=1e-6)
    assert (found.labels == expected.labels).float().mean() > 0.999
    assert torch.allclose(found.totals, expected.totals, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(73, 101), (72, 100)])
def test_masks_that_reach_beyond_an_image_are_cut_and_not_shrunk(size: tuple[int, int]) -> None:
    network = native.load(WEIGHTS_FOLDER / "tiny.safetensors").network.eval()
    torch.manual_seed(0)
    inputs = 2 * torch.randn(1, 3, *size)
    masks = network(inputs).predictions[-1].mask_logits
    expected = F.interpolate(masks, scale_factor=4, mode="bilinear").softmax(1)[..., : size[0], : size[1]]
    scores_of = ClassScores(_predict(network), network.config, None, False)
    assert torch.allclose(scores_of(inputs, size), expected, atol=1e-6)
    assert torch.allclose(scores_of.best(inputs, size).scores, expected.amax(1), atol=1e-6)
    predicted = predict_labels(network, inputs, longest_side_px=0, window=None)
    assert (predicted == expected.argmax(1)).float().mean() > 0.999


@torch.no_grad()
@pytest.mark.parametrize(("longest_side_px", "size"), [(0, (48, 64)), (100, (48, 64)), (48, (36, 48))])
def test_a_training_validates_images_as_large_as_they_enter_afterwards(longest_side_px: int, size: tuple[int, int]) -> None:
    network = native.load(WEIGHTS_FOLDER / "tiny.safetensors").network.eval()
    network.config = varied(network.config, {"inference": {"max_input_pixels": 48 * 64}})
    image = DemoSequence(5_000_000, image_size=(96, 128)).frame(30).image
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.config.mean, network.config.std))
    inputs = (torch.from_numpy(image).permute(2, 0, 1)[None] - mean) / std
    predicted = predict_labels(network, inputs, longest_side_px=longest_side_px, window=None)[0].numpy()
    expected = Segmenter.load("tiny", device="cpu", input_size=size).segment([image])[0].labels
    assert predicted.shape == (96, 128) and (predicted == expected).mean() > 0.999
    halved = predict_labels(network.bfloat16(), inputs.bfloat16(), longest_side_px=longest_side_px, window=None)[0].numpy()
    assert (halved == expected).mean() > 0.9


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("precision", "advice"), [("fp16", "use fp32 or bf16"), ("bf16", "use fp32"), ("fp32", "another")])
def test_one_score_that_is_no_number_is_enough_to_refuse(value: float, precision: str, advice: str) -> None:
    scores = torch.rand(2, 19, 5, 7)
    assert len(labelled(scores, precision)) == 2
    scores[1, 3, 2, 2] = value
    with pytest.raises(DeviceError, match=f"in precision {precision} are no finite numbers: .*{advice}"):
        labelled(scores, precision)


def test_a_network_that_overflows_is_said(tmp_path: Path) -> None:
    network = native.load(Path(__file__).parents[3] / "vltseg_core" / "weights" / "tiny.safetensors").network
    network.mask_decoder.output_norm.weight.data.fill_(1e38)
    native.save(network, tmp_path / "large.safetensors", trained_on="nothing")
    segmenter = Segmenter.load(tmp_path / "large.safetensors", device="cpu", precision="bf16")
    with pytest.raises(DeviceError, match="in precision bf16 are no finite numbers: use fp32"):
        segmenter.segment([np.full((64, 96, 3), 90, np.uint8)])
