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


def test_a_map_that_is_too_short_is_stretched() -> None:
    assert doubled(torch.rand(1, 2, 5, 7), (11, 15)).shape == (1, 2, 11, 15)
