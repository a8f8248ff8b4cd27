# SPDX-License-Identifier: Apache-2.0
"""Tileable value noise and cut-out silhouettes, computed once a process and looked up per pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

NOISE_SIZE = 512
"""Side of every noise tile in texels; a power of two, so that an index wraps with a bit mask."""
SILHOUETTE_SIZE = 160
"""Side of every silhouette in texels."""
NUM_LEAFY, NUM_BARE, NUM_BUSHES = 14, 6, 6
NUM_SILHOUETTES = NUM_LEAFY + NUM_BARE + NUM_BUSHES


def _octave(rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    lattice = rng.random((cells, cells), np.float32)
    padded = np.pad(lattice, 2, mode="wrap")
    scale = NOISE_SIZE // cells
    large = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[2 * scale : 2 * scale + NOISE_SIZE, 2 * scale : 2 * scale + NOISE_SIZE], np.float32)


def _equalise(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    ranks = np.empty(noise.size, np.float32)
    ranks[np.argsort(noise, axis=None)] = np.linspace(0.0, 1.0, noise.size, dtype=np.float32)
    return ranks.reshape(noise.shape)


@lru_cache(maxsize=1)
def cloudy_noise() -> NDArray[np.float32]:
    """Smooth noise of many scales, float32 [512, 512], evenly spread over 0..1, tileable."""
    rng = np.random.default_rng(11)
    total = sum(
        (_octave(rng, cells) / cells**0.9 for cells in (4, 8, 16, 32, 64)),
        np.zeros((NOISE_SIZE, NOISE_SIZE), np.float32),
    )
    return _equalise(np.asarray(total, np.float32))


@lru_cache(maxsize=1)
def grainy_noise() -> NDArray[np.float32]:
    """Fine noise, float32 [512, 512], mean 0.5, tileable: grains of one to eight texels."""
    rng = np.random.default_rng(12)
    total = 0.45 * rng.random((NOISE_SIZE, NOISE_SIZE), np.float32) + 0.3 * _octave(rng, 256) + 0.25 * _octave(rng, 64)
    return np.asarray(np.clip((total - total.mean()) / (4.0 * total.std()) + 0.5, 0.0, 1.0), np.float32)


def _leafy_silhouette(rng: np.random.Generator) -> NDArray[np.uint8]:
    size = SILHOUETTE_SIZE
    canvas = np.zeros((size, size), np.float32)
    squeeze = rng.uniform(0.75, 1.1)
    for _ in range(int(rng.integers(9, 18))):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.27) * size
        centre = (int(size / 2 + radius * np.cos(angle) * squeeze), int(size / 2 + radius * np.sin(angle)))
        cv2.circle(canvas, centre, int(rng.uniform(0.12, 0.24) * size), 1.0, -1)
    crown = cv2.GaussianBlur(canvas, (0, 0), size / 26)
    y, x = rng.integers(0, NOISE_SIZE - size, 2)
    clumps = cv2.resize(cloudy_noise()[y : y + size // 2, x : x + size // 2], (size, size))
    leaves = grainy_noise()[y : y + size, x : x + size]
    return np.asarray(crown + 0.55 * (clumps - 0.5) + 0.45 * (leaves - 0.5) > 0.55, np.uint8)


def _grow_branch(
    canvas: NDArray[np.uint8],
    rng: np.random.Generator,
    start: NDArray[np.float64],
    angle: float,
    length: float,
    width: float,
) -> None:
    if length < 4:
        return
    end = start + length * np.array([np.sin(angle), -np.cos(angle)])
    cv2.line(canvas, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 255, max(1, round(width)))
    for _ in range(3 if length > 12 else 2):
        fork = start + (end - start) * rng.uniform(0.55, 1.0)
        _grow_branch(canvas, rng, fork, angle + rng.normal(0, 0.55), length * rng.uniform(0.6, 0.8), width * 0.62)


def _bare_silhouette(rng: np.random.Generator) -> NDArray[np.uint8]:
    canvas = np.zeros((SILHOUETTE_SIZE, SILHOUETTE_SIZE), np.uint8)
    for _ in range(3):
        _grow_branch(
            canvas,
            rng,
            np.array([SILHOUETTE_SIZE / 2, SILHOUETTE_SIZE - 1.0]),
            rng.normal(0, 0.25),
            SILHOUETTE_SIZE * 0.3,
            4.0,
        )
    return canvas


def _bush_silhouette(rng: np.random.Generator) -> NDArray[np.uint8]:
    size = SILHOUETTE_SIZE
    x = int(rng.integers(0, NOISE_SIZE - size))
    profile = 0.25 + 0.5 * cloudy_noise()[int(rng.integers(0, NOISE_SIZE)), x : x + size]
    edge = np.minimum(1.0, 4.0 * np.minimum(np.linspace(0, 1, size), np.linspace(1, 0, size))) ** 0.5
    rows = np.linspace(0, 1, size)[:, None]
    leaves = grainy_noise()[x : x + size, x : x + size]
    return np.asarray(rows > 1.0 - profile[None] * edge[None] * 1.2 + 0.25 * (leaves - 0.5), np.uint8)


@lru_cache(maxsize=1)
def silhouettes() -> tuple[NDArray[np.uint8], ...]:
    """Cut-out masks uint8 [160, 160] of 0 or 1: leafy crowns, then bare crowns, then bushes."""
    rng = np.random.default_rng(13)
    leafy = [_leafy_silhouette(rng) for _ in range(NUM_LEAFY)]
    bare = [_bare_silhouette(rng) for _ in range(NUM_BARE)]
    return tuple((mask > 0).astype(np.uint8) for mask in (*leafy, *bare, *(_bush_silhouette(rng) for _ in range(NUM_BUSHES))))


def sample(noise: NDArray[np.float32], u: Floats, v: Floats) -> NDArray[np.float32]:
    """Noise at texel coordinates u (column) and v (row), wrapped; nearest texel."""
    index = v.astype(np.int32)
    index &= NOISE_SIZE - 1
    index *= NOISE_SIZE
    column = u.astype(np.int32)
    column &= NOISE_SIZE - 1
    index += column
    return noise.ravel().take(index, mode="clip")


def remainder(position: Floats, period: Floats | float) -> NDArray[np.float32]:
    """Position modulo a positive period; some twenty times faster than np.mod."""
    return np.asarray(position - np.floor(position / period) * period, np.float32)
