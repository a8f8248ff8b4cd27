# SPDX-License-Identifier: Apache-2.0
"""Bicycles and motorcycles as templates of faces, heading along +z, standing at 0; riders are separate templates."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vltseg_core.data.scene_faces import Emission, Faces, Material, Paint, box, disc, face, join, panel_across, prism

MOTORCYCLE, BICYCLE = 17, 18
_TYRE = (0.012, 0.012, 0.013)


def _two_wheels(label: int, radius: float, base: float, width: float, tyre: float) -> list[Faces]:
    parts = []
    for z in (-base / 2, base / 2):
        parts.append(box((-width / 2, 0, z - radius * 0.75), (width / 2, 2 * radius, z + radius * 0.75), _TYRE, label))
        for side in (-1.0, 1.0):
            x = side * (width / 2 + 0.01)
            parts.append(disc((x, radius, z), radius, _TYRE, label, axis="x", facing=side))
            parts.append(disc((x + side * 0.005, radius, z), radius * (1 - tyre), (0.1, 0.1, 0.1), label, axis="x", facing=side))
    return parts


@lru_cache(maxsize=1)
def bicycle_template() -> Faces:
    """A bicycle: two wheels, a diamond frame, saddle and handlebar."""
    bars = []
    tubes = (
        ((-0.5, 0.34), (-0.2, 0.88)),
        ((0.35, 0.9), (0.52, 0.34)),
        ((-0.22, 0.78), (0.38, 0.82)),
        ((-0.02, 0.3), (0.37, 0.8)),
        ((-0.02, 0.3), (-0.2, 0.88)),
    )
    for (z0, y0), (z1, y1) in tubes:
        across = np.array([y1 - y0, z0 - z1]) / np.hypot(z1 - z0, y1 - y0) * 0.028
        points = [
            (0.0, y0 + across[1], z0 + across[0]),
            (0.0, y1 + across[1], z1 + across[0]),
            (0.0, y1 - across[1], z1 - across[0]),
            (0.0, y0 - across[1], z0 - across[0]),
        ]
        bars.append(face(points, (0.3, 0.3, 0.3), BICYCLE, paint=Paint.MAIN, two_sided=True))
    return join(
        *_two_wheels(BICYCLE, 0.34, 1.04, 0.06, 0.2),
        *bars,
        box((-0.08, 0.88, -0.34), (0.08, 0.96, -0.08), (0.02, 0.02, 0.02), BICYCLE),
        box((-0.28, 0.98, 0.32), (0.28, 1.03, 0.38), (0.03, 0.03, 0.03), BICYCLE),
        panel_across((-0.05, 0.05), (0.6, 0.72), -0.6, -1.0, (0.4, 0.01, 0.01), BICYCLE, Emission.TAIL_LIGHT),
    )


@lru_cache(maxsize=1)
def motorcycle_template() -> Faces:
    """A motorcycle: wheels, tank and seat, engine, handlebar, lamps."""
    body = [(-0.75, 0.75), (0.35, 0.6), (0.5, 0.85), (0.15, 1.02), (-0.2, 0.85), (-0.85, 0.95)]
    return join(
        *_two_wheels(MOTORCYCLE, 0.32, 1.4, 0.16, 0.4),
        box((-0.2, 0.2, -0.45), (0.2, 0.7, 0.4), (0.03, 0.03, 0.035), MOTORCYCLE),
        prism(body, 0.19, (0.3, 0.05, 0.04), MOTORCYCLE, paint=Paint.MAIN, material=Material.PAINTED_METAL),
        box((-0.4, 1.0, 0.3), (0.4, 1.06, 0.38), (0.02, 0.02, 0.02), MOTORCYCLE),
        box((-0.14, 0.75, 0.45), (0.14, 1.15, 0.6), (0.05, 0.05, 0.05), MOTORCYCLE),
        panel_across((-0.1, 0.1), (0.82, 1.0), 0.62, 1.0, (0.8, 0.8, 0.75), MOTORCYCLE, Emission.HEADLIGHT),
        panel_across((-0.12, 0.12), (0.72, 0.84), -0.87, -1.0, (0.4, 0.01, 0.01), MOTORCYCLE, Emission.TAIL_LIGHT),
        panel_across((-0.1, 0.1), (0.5, 0.66), -0.88, -1.0, (0.6, 0.58, 0.4), MOTORCYCLE),
    )
