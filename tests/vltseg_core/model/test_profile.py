# SPDX-License-Identifier: Apache-2.0
"""Costs against what can be counted by hand."""

from __future__ import annotations

import pytest

from vltseg_core.config import preset
from vltseg_core.model.profile import network_cost
from vltseg_core.runtime.describe import describe_network


def test_the_paper_s_network_has_its_known_size() -> None:
    cost = network_cost(preset("eva02_clip_l"), (224, 224))
    assert 303e6 < cost.num_parameters["image_encoder"] < 305e6
    assert cost.weight_bytes(2) == 2 * sum(cost.num_parameters.values())


def test_operations_grow_with_the_pixels_of_a_convolutional_network() -> None:
    small, large = (network_cost(preset("tiny"), size) for size in ((160, 160), (320, 320)))
    assert large.flops["image_encoder"] == pytest.approx(4 * small.flops["image_encoder"], rel=0.01)
    assert small.num_parameters == large.num_parameters


def test_a_weights_file_says_what_it_was_trained_on() -> None:
    assert "CamVid" in describe_network("tiny", (64, 64)).trained_on


def test_an_encoder_only_network_shares_its_operations_with_its_encoder() -> None:
    plain, encoder_only = (network_cost(preset(name), (224, 224)) for name in ("eva02_clip_l", "eva02_clip_l_encoder_only"))
    assert encoder_only.flops["image_encoder"] == pytest.approx(plain.flops["image_encoder"], rel=0.01)
    assert 0 < encoder_only.flops["encoder_only_decoder"] < 0.5 * encoder_only.flops["image_encoder"]
    assert "feature_pyramid" not in encoder_only.num_parameters


def test_the_peak_is_more_than_the_weights_and_grows_with_the_image() -> None:
    small, large = (network_cost(preset("tiny"), size) for size in ((160, 160), (320, 320)))
    assert large.activation_values == pytest.approx(4 * small.activation_values, rel=0.05)
    assert large.peak_bytes(4) > large.weight_bytes(4)
