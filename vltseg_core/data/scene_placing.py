# SPDX-License-Identifier: Apache-2.0
"""Setting many copies of templates down at once: scaled, turned, moved and painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import FACE, Colour, Faces, gather


class Placement(NamedTuple):
    """Where one copy of a template goes. Metres and radians; positive yaw turns the template's +z towards +x."""

    template: Faces
    x: float
    z: float
    sort_key: float
    yaw: float = 0.0
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colours: Sequence[Colour] = ()
    y: float = 0.0
    params: tuple[float, float, float, float] | None = None


def set_down(placements: Sequence[Placement]) -> Faces:
    """The faces of all placements, in their order."""
    if not placements:
        return np.zeros(0, FACE)
    faces = gather([placement.template for placement in placements])
    owner = np.repeat(np.arange(len(placements)), [len(placement.template) for placement in placements])
    numbers = np.array([(p.x, p.y, p.z, p.yaw, *p.scale, p.sort_key) for p in placements], np.float32)
    cos, sin = np.cos(numbers[:, 3])[owner, None], np.sin(numbers[:, 3])[owner, None]
    vertices = faces["vertices"] * numbers[owner, None, 4:7]
    faces["vertices"][..., 0] = vertices[..., 0] * cos + vertices[..., 2] * sin + numbers[owner, 0:1]
    faces["vertices"][..., 1] = vertices[..., 1] + numbers[owner, 1:2]
    faces["vertices"][..., 2] = vertices[..., 2] * cos - vertices[..., 0] * sin + numbers[owner, 2:3]
    faces["sort_key"] = numbers[owner, 7]
    _paint(faces, owner, placements)
    with_params = [i for i, placement in enumerate(placements) if placement.params is not None]
    if with_params:
        params = np.full((len(placements), 4), np.nan, np.float32)
        params[with_params] = [placements[i].params for i in with_params]
        chosen = np.flatnonzero(~np.isnan(params[owner, 0]))
        faces["params"][chosen] = params[owner[chosen]]
    return faces


def _paint(faces: Faces, owner: NDArray[np.intp], placements: Sequence[Placement]) -> None:
    palette = np.full((len(placements), 4, 3), np.nan, np.float32)
    for row, placement in zip(palette, placements, strict=True):
        if placement.colours:
            row[1 : 1 + len(placement.colours)] = placement.colours
    colours = palette[owner, faces["paint"]]
    chosen = np.flatnonzero(~np.isnan(colours[:, 0]))
    faces["colour"][chosen] = colours[chosen]
