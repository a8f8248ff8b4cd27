# SPDX-License-Identifier: Apache-2.0
"""Sine positions, against the formula written out."""

from __future__ import annotations

import math

import torch

from vltseg_core.model.positions import sine_positions


def test_sine_positions_follow_the_formula() -> None:
    height, width, channels = 3, 5, 8
    positions = sine_positions(torch.zeros(1, channels, height, width))
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                is_row = channel < channels // 2
                coordinate = (row + 1) / height if is_row else (column + 1) / width
                index = channel % (channels // 2)
                angle = coordinate * 2 * math.pi / 10000 ** (2 * (index // 2) / (channels // 2))
                expected = math.sin(angle) if index % 2 == 0 else math.cos(angle)
                assert abs(float(positions[channel, row, column]) - expected) < 1e-4
