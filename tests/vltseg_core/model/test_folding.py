# SPDX-License-Identifier: Apache-2.0
"""A folded network computes what the plain one does, with fewer numbers on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from vltseg_core.checkpoints import native, published
from vltseg_core.config import ImageEncoderConfig, preset
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.model.linear import Linear
from vltseg_core.model.peak_memory import PeakMemory
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime.weights_path import WEIGHTS_FOLDER


def mini() -> Vltseg:
    return published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")


def tiny() -> Vltseg:
    return native.load(WEIGHTS_FOLDER / "tiny.safetensors").network


@torch.no_grad()
@pytest.mark.parametrize("build", [mini, tiny])
def test_the_result_is_the_plain_network_s(build: Callable[[], Vltseg], fidelity: Callable[[str, str, float], None]) -> None:
    plain = build()
    folded = copy.deepcopy(plain)
    fold_for_inference(folded)
    images = torch.randn(1, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    expected, found = plain(images, with_score_map=True), folded(images, with_score_map=True)
    wanted = expected.predictions[-1].mask_logits
    difference = float((found.predictions[-1].mask_logits - wanted).abs().max() / wanted.abs().max())
    fidelity(f"folded for inference, {plain.config.name}", "the network as trained", difference)
    assert difference < 1e-4
    assert sum(p.numel() for p in folded.parameters()) < sum(p.numel() for p in plain.parameters())


def test_no_batch_norm_is_left_in_the_small_network() -> None:
    network = tiny()
    fold_for_inference(network)
    assert not [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
@pytest.mark.parametrize(
    "encoder",
    [
        ImageEncoderConfig(
            "conv", "tf_efficientnetv2_b0"
        ),  # squeeze-and-excite, and blocks whose first convolution is the wide one
        ImageEncoderConfig("conv", "efficientnet_lite0", overrides={"feature_location": "expansion"}),  # maps taken by hooks
    ],
)
def test_other_towers_of_timm_s_stay_exact(encoder: ImageEncoderConfig) -> None:
    config = replace(preset("tiny"), image_encoder=encoder)
    torch.manual_seed(0)
    network = Vltseg(config).eval().double()  # random norms let values grow beyond what fp32 rounds well
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.bias):
                values.normal_()
            for values in (module.running_var, module.weight):
                values.uniform_(0.5, 2)
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    before = network(images).predictions[-1].mask_logits
    fold_for_inference(network)
    after = network(images).predictions[-1].mask_logits
    assert float((after - before).abs().max() / before.abs().max()) < 1e-9


def test_no_wide_map_is_left_at_the_fine_strides() -> None:
    plain, folded = mini(), mini()
    fold_for_inference(folded)
    assert isinstance(folded.feature_pyramid.up4[3], nn.ConvTranspose2d)
    assert folded.feature_pyramid.up4[3].out_channels == folded.config.pixel_decoder.width
    peaks = []
    for network in (plain, folded):
        network = network.to("meta")
        with PeakMemory() as memory, torch.no_grad():
            network.feature_pyramid(tuple(torch.empty(1, 64, 64, 64, device="meta") for _ in range(4)))
        peaks.append(memory.peak_bytes)
    assert peaks[1] < 0.8 * peaks[0]


@pytest.mark.parametrize("build", [mini, tiny])
def test_every_linear_map_becomes_the_fast_one_with_the_same_weights(build: Callable[[], Vltseg]) -> None:
    network = build()
    before = {name: layer.weight for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    fold_for_inference(network)
    after = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    assert before.keys() == after.keys()
    assert all(type(layer) is Linear and layer.weight is before[name] for name, layer in after.items())
