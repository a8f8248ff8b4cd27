# SPDX-License-Identifier: Apache-2.0
"""Flat faces, of which every drawn object is made: their record, and boxes, prisms and discs built of them.

World axes: x right, y up, z forward, metres. A face's first edge is its texture's u axis; the cross product of its
first two edges points to its front.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

MAX_VERTICES = 8


class Material(IntEnum):
    """How a face's pixels are textured."""

    PLAIN = 0
    GROUND = 1
    SKY = 2
    FACADE = 3
    FOLIAGE = 4
    MASONRY = 5
    PAINTED_METAL = 6
    GLASS = 7
    FENCE = 8
    CLOTH = 9
    ROOF = 10


class Emission(IntEnum):
    """What a face gives off at night."""

    NONE = 0
    HEADLIGHT = 1
    TAIL_LIGHT = 2
    STREET_LAMP = 3
    SIGNAL = 4
    WINDOWS = 5
    RETROREFLECTIVE = 6


class Paint(IntEnum):
    """Which of an object's colours a template's face takes."""

    FIXED = 0
    MAIN = 1
    SECOND = 2
    THIRD = 3


FACE = np.dtype(
    [
        ("vertices", np.float32, (MAX_VERTICES, 3)),
        ("colour", np.float32, (3,)),
        ("params", np.float32, (4,)),
        ("sort_key", np.float32),
        ("order", np.int16),
        ("label", np.uint8),
        ("material", np.uint8),
        ("emission", np.uint8),
        ("paint", np.uint8),
        ("two_sided", np.bool_),
        ("silhouette", np.int16),
    ]
)
"""One face: vertices [8, 3] (the last one repeated where there are fewer), linear-light colour RGB 0..1, texture
parameters, the distance by which objects are ordered far to near (metres ahead), the order within an object, train id,
material, emission, the colour it takes when painted, and the cut-out mask it is drawn through (-1: none)."""

Faces = NDArray[np.void]
Point = Sequence[float]
Colour = Sequence[float]


def face(
    points: Sequence[Point],
    colour: Colour,
    label: int,
    *,
    material: Material = Material.PLAIN,
    emission: Emission = Emission.NONE,
    paint: Paint = Paint.FIXED,
    params: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    two_sided: bool = False,
    silhouette: int = -1,
) -> Faces:
    """One flat convex face of 3 to 8 points, as an array of one record."""
    record = np.zeros(1, FACE)
    record["vertices"][0, : len(points)] = points
    record["vertices"][0, len(points) :] = points[-1]
    record["colour"] = colour
    record["params"] = params
    record["label"] = label
    record["material"] = material
    record["emission"] = emission
    record["paint"] = paint
    record["two_sided"] = two_sided
    record["silhouette"] = silhouette
    return record


_RAW_FACE = np.dtype((np.void, FACE.itemsize))


def gather(parts: Sequence[Faces]) -> Faces:
    """All faces of all parts; np.concatenate would promote the record's fields again for every part."""
    if not parts:
        return np.zeros(0, FACE)
    return np.concatenate([part.view(_RAW_FACE) for part in parts]).view(FACE)


def join(*parts: Faces) -> Faces:
    """Parts of one object, drawn in the given order."""
    faces = gather(parts)
    faces["order"] = np.arange(len(faces))
    return faces


def _outward(points: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
    (ax, ay, az), (bx, by, bz) = points[1] - points[0], points[2] - points[1]
    normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    if normal @ (points[0] - inside) < 0:
        return points[[1, 0, *range(len(points) - 1, 1, -1)]]
    return points


def panel_across(
    x: tuple[float, float],
    y: tuple[float, float],
    z: float,
    facing: float,
    colour: Colour,
    label: int,
    emission: Emission = Emission.NONE,
    material: Material = Material.PLAIN,
) -> Faces:
    """An upright panel across the z axis that faces along +z (facing 1) or -z (-1)."""
    first, last = (x[0], x[1]) if facing > 0 else (x[1], x[0])
    corners = [(first, y[0], z), (last, y[0], z), (last, y[1], z), (first, y[1], z)]
    return face(corners, colour, label, emission=emission, material=material)


# Corner k of a box takes its high x, y, z where bit 0, 1, 2 of k is set. Sides -z, +z, -x, +x, then the top.
_BOX_CORNERS = np.array([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in range(8)], np.float32)
_BOX_SIDES = np.array([[1, 0, 2, 3], [4, 5, 7, 6], [0, 4, 6, 2], [5, 1, 3, 7], [2, 6, 7, 3]])[:, [0, 1, 2, 3, 3, 3, 3, 3]]


def box(
    low: Point,
    high: Point,
    colour: Colour,
    label: int,
    *,
    material: Material = Material.PLAIN,
    paint: Paint = Paint.FIXED,
    top: bool = True,
) -> Faces:
    """An upright box between two corners: four sides and, on request, its top."""
    start = np.asarray(low, np.float32)
    corners = start + (np.asarray(high, np.float32) - start) * _BOX_CORNERS
    faces = np.zeros(5 if top else 4, FACE)
    faces["vertices"] = corners[_BOX_SIDES[: len(faces)]]
    faces["colour"] = colour
    faces["label"] = label
    faces["material"] = material
    faces["paint"] = paint
    faces["silhouette"] = -1
    return faces


def prism(
    profile: Sequence[tuple[float, float]],
    half_width: float | Sequence[float],
    colour: Colour,
    label: int,
    *,
    material: Material = Material.PLAIN,
    paint: Paint = Paint.FIXED,
    glass_edges: Sequence[int] = (),
    glass_colour: Colour = (0.02, 0.025, 0.03),
) -> Faces:
    """A side profile (z, y) drawn across the width: two sides and a face an edge; `half_width` may differ by point."""
    outline = np.asarray(profile, float)
    half = np.broadcast_to(np.asarray(half_width, float), len(outline))
    left = np.stack([-half, outline[:, 1], outline[:, 0]], 1)
    right = left * (-1.0, 1.0, 1.0)
    inside = np.concatenate([left, right]).mean(0)
    parts = [face(_outward(side, inside).tolist(), colour, label, material=material, paint=paint) for side in (left, right)]
    for i in range(len(outline)):
        j = (i + 1) % len(outline)
        if outline[i, 1] + outline[j, 1] <= 2 * outline[:, 1].min() + 1e-6:
            continue
        quad = _outward(np.stack([left[i], right[i], right[j], left[j]]), inside).tolist()
        if i in glass_edges:
            parts.append(face(quad, glass_colour, label, material=Material.GLASS))
        else:
            parts.append(face(quad, colour, label, material=material, paint=paint))
    return gather(parts)


def disc(
    centre: Point,
    radius: float,
    colour: Colour,
    label: int,
    *,
    axis: str = "z",
    facing: float = -1.0,
    num_points: int = 8,
    material: Material = Material.PLAIN,
    emission: Emission = Emission.NONE,
    paint: Paint = Paint.FIXED,
    two_sided: bool = False,
    turn: float = 0.5,
) -> Faces:
    """A regular polygon across the x or z axis, its front towards `facing` (-1 or 1) on that axis."""
    angles = (np.arange(num_points) + turn) * 2 * np.pi / num_points
    a, b = radius * np.cos(angles), radius * np.sin(angles)
    zero = np.zeros(num_points)
    points = np.stack([a, b, zero] if axis == "z" else [zero, b, a], 1) + np.asarray(centre, float)
    behind = np.asarray(centre, float) - np.array([0, 0, facing] if axis == "z" else [facing, 0, 0], float)
    return face(
        _outward(points, behind).tolist(),
        colour,
        label,
        material=material,
        emission=emission,
        paint=paint,
        two_sided=two_sided,
    )


def mirrored(faces: Faces) -> Faces:
    """The same object with left and right swapped."""
    swapped = faces.copy()
    swapped["vertices"] = faces["vertices"][:, [1, 0, 7, 6, 5, 4, 3, 2]] * np.array([-1, 1, 1], np.float32)
    return swapped
