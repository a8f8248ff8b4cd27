# SPDX-License-Identifier: Apache-2.0
"""Windows cover every pixel, and merging what they see gives back the image."""

from __future__ import annotations

import pytest
import torch

from vltseg_core.runtime.sliding_window import SlidingWindow


def test_the_published_protocol_s_windows() -> None:
    assert SlidingWindow(512).starts(1024) == [0, 426, 512]
    assert SlidingWindow(1024, step_px=768).starts(2048) == [0, 768, 1024]
    assert SlidingWindow(512).starts(300) == [0]


@pytest.mark.parametrize(("window", "step"), [(512, 426), (1024, 768), (100, 37)])
def test_windows_lie_where_the_published_test_code_has_them(window: int, step: int) -> None:
    """There: ceil((length - window) / step) + 1 windows, a step apart, each moved back to end inside the image."""
    for length in range(window, 5 * window, 13):
        count = max(length - window + step - 1, 0) // step + 1
        expected = [max(min(i * step + window, length) - window, 0) for i in range(count)]
        assert SlidingWindow(window, step).starts(length) == expected


@pytest.mark.parametrize("size", [(32, 32), (33, 100), (97, 61)])
def test_merging_the_image_itself_gives_the_image(size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    merged = SlidingWindow(32).merge(images, 3, lambda crop, crop_size: crop)
    assert torch.allclose(merged, images, atol=1e-5)
