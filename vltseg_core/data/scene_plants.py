# SPDX-License-Identifier: Apache-2.0
"""Trees and bushes: trunks, and crowns cut out by silhouettes, which stand across the view."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vltseg_core.data.scene_faces import Colour, Faces, Material, Paint, box, face, join
from vltseg_core.data.scene_noise import NUM_BARE, NUM_BUSHES, NUM_LEAFY
from vltseg_core.data.scene_placing import Placement

VEGETATION = 8
_BARK = (0.07, 0.055, 0.042)


@lru_cache(maxsize=1)
def _trunk_template() -> Faces:
    return join(box((-0.5, 0, -0.5), (0.5, 1, 0.5), _BARK, VEGETATION, paint=Paint.MAIN, top=False))


@lru_cache(maxsize=64)
def _crown_template(silhouette: int, turned: bool, leafy: bool) -> Faces:
    """A quad of 1 x 1 across the view, its bottom's middle at 0."""
    a, b = (-0.5, 0.5) if turned else (0.5, -0.5)
    return join(
        face(
            [(a, 0, 0), (b, 0, 0), (b, 1, 0), (a, 1, 0)],
            (0.05, 0.08, 0.02),
            VEGETATION,
            paint=Paint.MAIN,
            two_sided=True,
            material=Material.FOLIAGE if leafy else Material.PLAIN,
            silhouette=silhouette,
        )
    )


def tree(
    rng: np.random.Generator,
    x: float,
    z: float,
    *,
    height: float,
    leaf: Colour,
    bare: bool,
    crown_base: float,
    layers: int,
    sort_key: float,
) -> list[Placement]:
    """A tree: a trunk, and a crown of one or more cut-out layers."""
    thickness = 2 * height * rng.uniform(0.018, 0.03)
    trunk_top = height * (0.42 if bare else 0.5)
    parts = [Placement(_trunk_template(), x, z, sort_key, scale=(thickness, trunk_top, thickness))]
    spread = height * rng.uniform(0.36, 0.5)
    turned = bool(rng.random() < 0.5)
    if bare:
        crown = _crown_template(int(NUM_LEAFY + rng.integers(NUM_BARE)), turned, False)
        return [
            *parts,
            Placement(crown, x, z, sort_key, scale=(2 * spread, height * 0.75, 1.0), colours=(_BARK,), y=height * 0.25),
        ]
    for i in range(layers):
        size = 1.0 if i == 0 else rng.uniform(0.55, 0.8)
        shift = 0.0 if i == 0 else rng.uniform(-0.3, 0.3) * spread
        bottom = height * crown_base * rng.uniform(0.75, 1.1)
        middle = (bottom + height) / 2 + (0.0 if i == 0 else rng.uniform(-0.12, 0.12) * height)
        tall = (height - bottom) * size
        tone = rng.uniform(0.85, 1.2)
        crown = _crown_template(int(rng.integers(NUM_LEAFY)), turned, True)
        parts.append(
            Placement(
                crown,
                x + shift,
                z - 0.25 * i * spread,
                sort_key,
                scale=(2 * spread * size, tall, 1.0),
                colours=((leaf[0] * tone, leaf[1] * tone, leaf[2] * tone),),
                y=middle - tall / 2,
                params=(1.0, 2 * spread * size, tall, 0.0),
            )
        )
    return parts


def bush(
    rng: np.random.Generator, x: float, z: float, *, width: float, height: float, leaf: Colour, sort_key: float
) -> Placement:
    """A bush: one cut-out."""
    template = _crown_template(int(NUM_LEAFY + NUM_BARE + rng.integers(NUM_BUSHES)), bool(rng.random() < 0.5), True)
    return Placement(template, x, z, sort_key, scale=(width, height, 1.0), colours=(leaf,), params=(1.0, width, height, 0.0))
