# SPDX-License-Identifier: Apache-2.0
"""What closes the view at the end of the drawn street: distant woods and blocks of houses, always as far away."""

from __future__ import annotations

import numpy as np

from vltseg_core.data import scene_street as street
from vltseg_core.data.scene_placing import Placement
from vltseg_core.data.scene_plants import bush
from vltseg_core.data.scene_style import ROOF_COLOURS, WALL_COLOURS, SceneStyle, toned

_DISTANCE = 300.0
_HALF_WIDTH = 330.0
_BEHIND_ALL = 1e5


def backdrop(style: SceneStyle) -> list[Placement]:
    """Placements with z counted from the camera and x from the world's axis."""
    rng = np.random.default_rng([style.seed, 6])
    placements = []
    x = -_HALF_WIDTH
    while x < _HALF_WIDTH:
        width = rng.uniform(25, 60)
        leaf = toned(style.leaf, rng.uniform(0.6, 1.1))
        key = _BEHIND_ALL + rng.uniform(0, 10)
        placements.append(bush(rng, x, _DISTANCE, width=1.5 * width, height=rng.uniform(9, 22), leaf=leaf, sort_key=key))
        if rng.random() < 0.75 * style.urbanity:
            wall = toned(WALL_COLOURS[rng.integers(len(WALL_COLOURS))], rng.uniform(0.7, 1.1))
            roof = ROOF_COLOURS[rng.integers(len(ROOF_COLOURS))]
            at, scale = (x + rng.uniform(-10, 10), _DISTANCE - 15.0), (rng.uniform(12, 30), rng.uniform(8, 20), 12.0)
            params = (rng.uniform(2, 4), 3.2, rng.uniform(0.3, 0.8), rng.random())
            placements.append(Placement(street.house_template(), *at, key - 20.0, 0.0, scale, (wall, roof), params=params))
        x += width * 0.7
    return placements
