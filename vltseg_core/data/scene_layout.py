# SPDX-License-Identifier: Apache-2.0
"""What stands where along the street: the seeded world, made in pieces of 40.96 m, each from (seed, piece) alone."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.scene_piece import PIECE_LENGTH, PROFILE_SAMPLES, GroundProfile, Piece, PieceBuilder
from vltseg_core.data.scene_placing import set_down
from vltseg_core.data.scene_roadside import add_buildings, add_front, add_furniture, add_parked, add_trees
from vltseg_core.data.scene_style import SceneStyle


def _profile(builder: PieceBuilder) -> GroundProfile:
    style, rng = builder.style, builder.rng
    z = (np.arange(PROFILE_SAMPLES) + 0.5) * (PIECE_LENGTH / PROFILE_SAMPLES)
    ends = np.zeros((3, 2, PROFILE_SAMPLES), np.float32)
    for side in range(2):
        road = builder.road_end(side)
        ends[0, side] = road
        ends[1, side] = road + style.verge_width
        ends[2, side] = road + style.verge_width + style.sidewalk_width
        if builder.side_open[side]:
            radius = 4.0
            beyond = np.maximum(builder.junction[0] - z, z - builder.junction[1])
            corner = np.where(
                beyond < radius,
                radius - np.sqrt(np.maximum(0.0, radius**2 - np.square(radius - np.maximum(beyond, 0)))),
                0.0,
            )
            for i in range(3):
                ends[i, side] = np.where(beyond <= 0, 90.0, np.maximum(ends[i, side], road + corner))
    junction, crossing, stop_line = np.zeros((3, PROFILE_SAMPLES), bool)
    if builder.has_junction:
        near, far = builder.junction
        junction |= (z > near - 1) & (z < far + 1)
        if rng.random() < 0.6:
            crossing |= (z > near - 5.0) & (z < near - 2.0)
        stop_line |= (z > near - 6.3) & (z < near - 5.9)
    grassy = np.zeros((2, PROFILE_SAMPLES), bool)
    for side in range(2):
        grassy[side] = rng.random() < style.grass_share * (0.5 if builder.urban else 1.3)
    return GroundProfile(ends[0], ends[1], ends[2], grassy, crossing, stop_line, junction)


def build_piece(style: SceneStyle, index: int) -> Piece:
    """The street between index * 40.96 m and the next piece."""
    builder = PieceBuilder(style, index)
    profile = _profile(builder)
    for side in range(2):
        if builder.urban or builder.rng.random() < 0.6 - 0.4 * style.greenness:
            add_buildings(builder, side)
        add_front(builder, side)
        add_trees(builder, side)
        add_furniture(builder, side)
        add_parked(builder, side)
    faces = set_down(builder.placements)
    return Piece(
        faces,
        profile,
        np.asarray(builder.casters, np.float32).reshape(-1, 7),
        np.asarray(builder.lamps, np.float32).reshape(-1, 3),
    )
