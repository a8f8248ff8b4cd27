# SPDX-License-Identifier: Apache-2.0
"""A ramp over the image stays the same ramp from stride to stride."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vltseg_core.model.upsampling import doubled


def ramp(num_places: int, stride: int) -> Tensor:
    """Where each place's centre lies in the image, down the rows [1, 1, n, 4]."""
    return ((torch.arange(num_places) + 0.5) * stride)[None, None, :, None].expand(1, 1, -1, 4)


@pytest.mark.parametrize("num_fine", [22, 23])
def test_places_stay_over_their_pixels(num_fine: int) -> None:
    coarse = ramp(-(-num_fine // 2), 32)
    found = doubled(coarse, (num_fine, 8))
    assert found.shape == (1, 1, num_fine, 8)
    assert torch.allclose(found[0, 0, 1:-1, 0], ramp(num_fine, 16)[0, 0, 1:-1, 0])  # the ends repeat the last centre


def test_where_a_tower_left_the_odd_row_out_the_last_one_stands_for_it() -> None:
    found = doubled(ramp(11, 32), (23, 7))
    assert torch.allclose(found[0, 0, 1:21, 0], ramp(23, 16)[0, 0, 1:21, 0])
    assert torch.equal(found[0, 0, 22], found[0, 0, 21])
