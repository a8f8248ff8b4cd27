# SPDX-License-Identifier: Apache-2.0
"""A piece of street under construction: where things go in its coordinates, and what has been put there."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import Faces
from vltseg_core.data.scene_placing import Placement
from vltseg_core.data.scene_style import SceneStyle, Triple

PIECE_LENGTH = 40.96
"""Length of a piece in metres: a whole number of noise tiles and of lane dashes."""
PROFILE_SAMPLES = 256
"""Samples of the ground profile along a piece, one every 0.16 m."""


class GroundProfile(NamedTuple):
    """The ground along a piece by side (left, right) and sample: where strips end, metres from the road's middle."""

    road_end: NDArray[np.float32]  # [2, 256]
    verge_end: NDArray[np.float32]  # [2, 256]
    sidewalk_end: NDArray[np.float32]  # [2, 256]
    grassy_yard: NDArray[np.bool_]  # [2, 256] whether grass, not paving, lies beyond the sidewalk
    crossing: NDArray[np.bool_]  # [256] a pedestrian crossing
    stop_line: NDArray[np.bool_]  # [256]
    junction: NDArray[np.bool_]  # [256] a side road joins: no lane marks


class Piece(NamedTuple):
    """One piece of the street; z is counted from the piece's start."""

    faces: Faces
    profile: GroundProfile
    casters: NDArray[np.float32]  # [N, 7] shadow casters: x, z, half width, half length, yaw, lowest and highest point
    lamps: NDArray[np.float32]  # [M, 3] street lamps: x, y, z


class PieceBuilder:
    """Collects the faces of one piece."""

    def __init__(self, style: SceneStyle, index: int) -> None:
        self.style = style
        self.rng = np.random.default_rng([style.seed, 2, index & 0xFFFFFFFF])
        self.base = index * PIECE_LENGTH
        self.placements: list[Placement] = []
        self.casters: list[tuple[float, ...]] = []
        self.lamps: list[tuple[float, float, float]] = []
        self.urban = bool(self.rng.random() < 0.15 + 0.7 * style.urbanity)
        self.has_junction = bool(self.rng.random() < 0.3)
        self.junction = (0.0, 0.0)
        if self.has_junction:
            start = self.rng.uniform(8, 22)
            self.junction = (start, start + self.rng.uniform(6.5, 10))
        self.side_open = [self.has_junction and bool(self.rng.random() < 0.75) for _ in range(2)]

    def x(self, lateral: float, z: float) -> float:
        return self.style.centre_at(self.base + z) + lateral

    def yaw(self, z: float) -> float:
        return math.atan(self.style.slope(self.base + z))

    def key(self, lateral: float, z: float) -> float:
        return self.style.far_to_near_key(lateral, z)

    def free(self, side: int, z: float, margin: float = 2.5) -> bool:
        """Whether nothing but road would be at z on that side."""
        return not (self.side_open[side] and self.junction[0] - margin < z < self.junction[1] + margin)

    def road_end(self, side: int) -> float:
        opposite = 0 if self.style.keep_right else 1
        tram_bed = 3.3 if self.style.tram and side == opposite else 0.0
        return self.style.road_half_width + self.style.parking_width + tram_bed

    def put(
        self,
        template: Faces,
        side: int,
        lateral: float,
        z: float,
        *,
        colours: list[Triple],
        turned: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        """Set an object down at a distance from the road's middle, its +z along the road unless turned."""
        at = lateral if side else -lateral
        self.placements.append(
            Placement(template, self.x(at, z), z, self.key(at, z), self.yaw(z) + turned, (scale, scale, scale), colours)
        )

    def put_along(
        self,
        template: Faces,
        side: int,
        lateral: float,
        z0: float,
        z1: float,
        thickness: float,
        height: float,
        colours: list[Triple],
        params: tuple[float, float, float, float] | None = None,
    ) -> None:
        """Stretch a unit template along the road from z0 to z1."""
        at = lateral if side else -lateral
        x0, x1 = self.x(at, z0), self.x(at, z1)
        yaw, length = math.atan2(x1 - x0, z1 - z0), math.hypot(x1 - x0, z1 - z0)
        middle = ((x0 + x1) / 2, (z0 + z1) / 2)
        self.placements.append(
            Placement(template, *middle, self.key(at, middle[1]), yaw, (thickness, height, length), colours, params=params)
        )

    def cast(
        self,
        lateral: float,
        z: float,
        half_width: float,
        half_length: float,
        low: float,
        high: float,
        turned: float = 0.0,
    ) -> None:
        self.casters.append((self.x(lateral, z), z, half_width, half_length, self.yaw(z) + turned, low, high))
