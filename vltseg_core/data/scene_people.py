# SPDX-License-Identifier: Apache-2.0
"""People as templates of faces: walkers in eight phases of a step, and riders for bicycles and motorcycles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vltseg_core.data.scene_faces import Faces, Material, Paint, disc, face, gather, join

PERSON, RIDER = 11, 12
NUM_PHASES = 8
_SHOE = (0.02, 0.02, 0.02)


def _limb(
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    width: float,
    label: int,
    paint: Paint,
    colour: tuple[float, float, float],
) -> Faces:
    """A tapered strip towards the viewer, and a second one across it, so that it is seen from the side too."""
    a, b = np.asarray(start), np.asarray(end)
    strips = []
    for across in (np.array([width / 2, 0.0, 0.0]), np.array([0.0, 0.0, width / 2])):
        points = [a - across, a + across, b + across * 0.75, b - across * 0.75]
        strips.append(face([p.tolist() for p in points], colour, label, material=Material.CLOTH, paint=paint, two_sided=True))
    return gather(strips)


def _torso(bottom: float, top: float, lean: float, width: float, label: int) -> Faces:
    outlines = []
    height = top - bottom
    shape = ((0.38, 0.0), (0.44, 0.35), (0.5, 0.78), (0.4, 0.95), (0.16, 1.0))
    ring = [(s, t) for s, t in shape[:4]] + [(-s, t) for s, t in reversed(shape[:4])]
    for side_view in (False, True):
        points = []
        for s, t in ring:
            across, y, z = s * width * (0.62 if side_view else 1.0), bottom + t * height, lean * t
            points.append((0.0, y, z + across) if side_view else (across, y, z))
        outlines.append(face(points, (0.2, 0.2, 0.2), label, material=Material.CLOTH, paint=Paint.MAIN, two_sided=True))
    return gather(outlines)


def _head(y: float, z: float, label: int) -> Faces:
    return gather(
        [
            disc((0.0, y, z), 0.115, (0.4, 0.25, 0.18), label, paint=Paint.THIRD, two_sided=True, material=Material.CLOTH),
            disc(
                (0.0, y, z),
                0.115,
                (0.4, 0.25, 0.18),
                label,
                axis="x",
                facing=1.0,
                paint=Paint.THIRD,
                two_sided=True,
                material=Material.CLOTH,
            ),
            disc((0.0, y + 0.04, z - 0.02), 0.12, (0.02, 0.015, 0.01), label, two_sided=True, num_points=6),
        ]
    )


@lru_cache(maxsize=1)
def walker_templates() -> tuple[Faces, ...]:
    """A person of 1.75 m in eight phases of two steps; paints: jacket, trousers, skin."""
    walkers = []
    for phase in range(NUM_PHASES):
        swing = np.sin(2 * np.pi * phase / NUM_PHASES)
        parts = []
        for side in (-1.0, 1.0):
            reach = 0.34 * swing * side
            lift = 0.06 * max(0.0, np.cos(2 * np.pi * phase / NUM_PHASES) * side)
            hip, knee, foot = (
                (side * 0.09, 0.9, 0.0),
                (side * 0.1, 0.48 + lift, reach * 0.55 + 0.05),
                (side * 0.1, 0.06 + lift, reach),
            )
            parts.append(_limb(hip, knee, 0.2, PERSON, Paint.SECOND, (0.05, 0.05, 0.08)))
            parts.append(_limb(knee, foot, 0.15, PERSON, Paint.SECOND, (0.05, 0.05, 0.08)))
            parts.append(_limb(foot, (side * 0.1, lift, reach + 0.14), 0.12, PERSON, Paint.FIXED, _SHOE))
        parts.append(_torso(0.82, 1.5, 0.02, 0.48, PERSON))
        for side in (-1.0, 1.0):
            hand = (side * 0.27, 0.86, -0.26 * swing * side)
            parts.append(_limb((side * 0.22, 1.42, 0.0), hand, 0.13, PERSON, Paint.MAIN, (0.2, 0.2, 0.2)))
        parts.append(_head(1.62, 0.03, PERSON))
        walkers.append(join(*parts))
    return tuple(walkers)


@lru_cache(maxsize=1)
def cyclist_templates() -> tuple[Faces, ...]:
    """A rider on a bicycle in eight phases of pedalling (the bicycle is a template of its own)."""
    return tuple(_rider(0.95, 0.28, 0.32, 2 * np.pi * phase / NUM_PHASES) for phase in range(NUM_PHASES))


@lru_cache(maxsize=1)
def motorcyclist_template() -> Faces:
    """A rider on a motorcycle, with a helmet."""
    rider = _rider(0.88, 0.35, 0.1, 0.0)
    helmet = [disc((0.0, 1.6, 0.28), 0.16, (0.05, 0.05, 0.05), RIDER, axis=axis, two_sided=True) for axis in ("x", "z")]
    return join(rider, *helmet)


def _rider(seat: float, lean: float, bar: float, phase: float) -> Faces:
    parts = []
    for side in (-1.0, 1.0):
        pedal_y, pedal_z = 0.3 + 0.15 * np.sin(phase) * side, 0.0 + 0.15 * np.cos(phase) * side
        knee = (side * 0.15, 0.5 * (seat + pedal_y) + 0.12, pedal_z + 0.3)
        parts.append(_limb((side * 0.1, seat, -0.2), knee, 0.19, RIDER, Paint.SECOND, (0.05, 0.05, 0.08)))
        parts.append(_limb(knee, (side * 0.13, pedal_y, pedal_z), 0.14, RIDER, Paint.SECOND, (0.05, 0.05, 0.08)))
    torso = _torso(seat - 0.05, seat + 0.58, lean, 0.46, RIDER)
    torso["vertices"][..., 2] -= np.float32(0.2)
    parts.append(torso)
    for side in (-1.0, 1.0):
        parts.append(
            _limb(
                (side * 0.2, seat + 0.5, lean - 0.22),
                (side * 0.27, 1.05, bar),
                0.12,
                RIDER,
                Paint.MAIN,
                (0.2, 0.2, 0.2),
            )
        )
    parts.append(_head(seat + 0.72, lean - 0.12, RIDER))
    return join(*parts)
