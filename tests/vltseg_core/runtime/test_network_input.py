# SPDX-License-Identifier: Apache-2.0
"""What enters the network is (RGB - mean) / std, to the last bit, at the size asked for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vltseg_core.config import preset
from vltseg_core.runtime.network_input import NetworkInput


@pytest.mark.parametrize("size", [(5, 7), (4, 9), (16, 3)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_images_are_resized_and_normalised_channel_by_channel(size: tuple[int, int], precision: str) -> None:
    config = preset("tiny")
    images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    inputs = NetworkInput(config, precision, torch.device("cpu"))(images, size)
    pixels = images.float()
    if size != (5, 7):
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=config.inference.antialias)
    expected = (pixels - torch.tensor(config.mean).view(3, 1, 1)) / torch.tensor(config.std).view(3, 1, 1)
    torch.testing.assert_close(inputs, expected.to(inputs.dtype), rtol=0, atol=0)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert inputs.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
