# SPDX-License-Identifier: Apache-2.0
"""What lines a street, as templates of faces: houses, roofs, walls, fences, poles, lamps, signals and signs."""

from __future__ import annotations

from functools import lru_cache

from vltseg_core.data.scene_faces import (
    Colour,
    Emission,
    Faces,
    Material,
    Paint,
    box,
    disc,
    face,
    gather,
    join,
    mirrored,
)

BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = 2, 3, 4, 5, 6, 7
NUM_SIGN_KINDS = 8
_STEEL = (0.14, 0.145, 0.15)
_WOOD = (0.09, 0.06, 0.04)


@lru_cache(maxsize=1)
def house_template() -> Faces:
    """A box of 1 x 1 x 1 on the ground, centred: walls with windows (params: bay, storey, fill, chance), flat roof."""
    house = box((-0.5, 0, -0.5), (0.5, 1, 0.5), (0.3, 0.3, 0.3), BUILDING, material=Material.FACADE, paint=Paint.MAIN)
    house["material"][-1] = Material.ROOF
    house["colour"][-1] = (0.12, 0.12, 0.12)
    house["paint"][-1] = Paint.SECOND
    return join(house)


@lru_cache(maxsize=2)
def pitched_roof_template(gable_to_street: bool) -> Faces:
    """A pitched roof over the unit house, from height 0 to 1, its ridge along the street or across it."""
    parts = []
    for side in (-1.0, 1.0):
        slope = [(side * 0.54, -0.04, -0.51), (side * 0.54, -0.04, 0.51), (0.0, 1.0, 0.51), (0.0, 1.0, -0.51)]
        if side > 0:
            slope = [slope[1], slope[0], slope[3], slope[2]]
        parts.append(face(slope, (0.2, 0.08, 0.05), BUILDING, material=Material.ROOF, paint=Paint.SECOND))
        gable = [(-side * 0.5, 0.0, side * 0.5), (side * 0.5, 0.0, side * 0.5), (0.0, 1.0, side * 0.5)]
        parts.append(face(gable, (0.3, 0.3, 0.3), BUILDING, material=Material.MASONRY, paint=Paint.MAIN))
    roof = join(*parts)
    if gable_to_street:
        x = roof["vertices"][..., 0].copy()
        roof["vertices"][..., 0] = roof["vertices"][..., 2]
        roof["vertices"][..., 2] = -x
    return roof


@lru_cache(maxsize=4)
def block_template(label: int, material: Material) -> Faces:
    """A box of 1 x 1 x 1 standing on the ground, centred: ledges, chimneys, walls, hedges."""
    return join(box((-0.5, 0, -0.5), (0.5, 1, 0.5), (0.3, 0.3, 0.3), label, material=material, paint=Paint.MAIN))


@lru_cache(maxsize=4)
def fence_template(kind: int) -> Faces:
    """A fence of unit length along z and unit height: 0 railings, 1 boards, 2 mesh, 3 guard rail."""
    low = 0.45 if kind == 3 else 0.0
    corners = [(0.0, low, -0.5), (0.0, low, 0.5), (0.0, 1.0, 0.5), (0.0, 1.0, -0.5)]
    panel = face(corners, (0.2, 0.2, 0.2), FENCE, material=Material.FENCE, paint=Paint.MAIN, two_sided=True)
    posts = [
        box((-0.04, 0, z - 0.006), (0.04, 1.04, z + 0.006), (0.2, 0.2, 0.2), FENCE, paint=Paint.SECOND)
        for z in (-0.48, -0.16, 0.16, 0.48)
    ]
    return join(panel, *posts)


def _post(height: float, thickness: float, colour: Colour = _STEEL, base: float = 0.0) -> Faces:
    half = thickness / 2
    return box((-half, base, -half), (half, height, half), colour, POLE, paint=Paint.MAIN)


@lru_cache(maxsize=2)
def street_lamp_template(arm_to_left: bool) -> Faces:
    """A lamp post of 7.5 m with an arm."""
    arm = box((0.0, 7.4, -0.05), (1.7, 7.5, 0.05), _STEEL, POLE, paint=Paint.MAIN)
    head = box((1.2, 7.3, -0.12), (1.9, 7.48, 0.12), (0.3, 0.3, 0.3), POLE)
    glow = face(
        [(1.25, 7.26, -0.13), (1.85, 7.26, -0.13), (1.85, 7.4, -0.13), (1.25, 7.4, -0.13)],
        (0.6, 0.6, 0.55),
        POLE,
        emission=Emission.STREET_LAMP,
        two_sided=True,
    )
    lamp = join(_post(1.2, 0.24), _post(7.5, 0.15, base=1.2), arm, head, glow)
    return mirrored(lamp) if arm_to_left else lamp


@lru_cache(maxsize=1)
def bollard_template() -> Faces:
    """A bollard of 1 m."""
    return join(_post(1.0, 0.14))


@lru_cache(maxsize=1)
def wooden_pole_template() -> Faces:
    """A telegraph pole."""
    return join(_post(8.5, 0.24, _WOOD), box((-0.9, 7.7, -0.06), (0.9, 7.85, 0.06), _WOOD, POLE))


@lru_cache(maxsize=16)
def traffic_light_template(lit: int, gantry: bool, arm_to_left: bool) -> Faces:
    """A signal facing -z, one lamp lit (0 red, 1 amber, 2 green), on a post; a gantry has a second over the road."""
    parts = [_post(3.0, 0.13)]
    heads = [(0.0, 2.4)]
    if gantry:
        parts += [_post(6.0, 0.17), box((0.0, 5.75, -0.06), (4.6, 5.9, 0.06), _STEEL, POLE, paint=Paint.MAIN)]
        heads.append((4.2, 5.0))
    colours = ((0.9, 0.03, 0.02), (0.9, 0.4, 0.02), (0.05, 0.8, 0.3))
    for x, y in heads:
        parts.append(box((x - 0.18, y, -0.25), (x + 0.18, y + 1.05, 0.05), (0.012, 0.014, 0.013), TRAFFIC_LIGHT))
        for i, colour in enumerate(colours):
            shown = colour if i == lit else tuple(0.06 * c for c in colour)
            emission = Emission.SIGNAL if i == lit else Emission.NONE
            parts.append(disc((x, y + 0.86 - 0.33 * i, -0.27), 0.12, shown, TRAFFIC_LIGHT, emission=emission))
    light = join(*parts)
    return mirrored(light) if arm_to_left else light


_WHITE, _RED, _BLUE, _BLACK, _YELLOW = (
    (0.75, 0.75, 0.75),
    (0.55, 0.02, 0.02),
    (0.02, 0.1, 0.5),
    (0.02, 0.02, 0.02),
    (0.65, 0.5, 0.03),
)
_SIGN_Y = 2.35


def _board(x: tuple[float, float], y: tuple[float, float], layer: int, colour: Colour) -> Faces:
    z = -0.08 - 0.01 * layer
    corners = [
        (x[1], _SIGN_Y + y[0], z),
        (x[0], _SIGN_Y + y[0], z),
        (x[0], _SIGN_Y + y[1], z),
        (x[1], _SIGN_Y + y[1], z),
    ]
    return face(corners, colour, TRAFFIC_SIGN, emission=Emission.RETROREFLECTIVE)


def _triangle(size: float, layer: int, colour: Colour, up: float) -> Faces:
    z = -0.08 - 0.01 * layer
    points = [
        (size, _SIGN_Y - up * size * 0.55, z),
        (-size, _SIGN_Y - up * size * 0.55, z),
        (0.0, _SIGN_Y + up * size * 1.1, z),
    ]
    return face(points if up > 0 else points[::-1], colour, TRAFFIC_SIGN, emission=Emission.RETROREFLECTIVE)


def _plaque(radius: float, layer: int, colour: Colour) -> Faces:
    return disc((0.0, _SIGN_Y, -0.08 - 0.01 * layer), radius, colour, TRAFFIC_SIGN, emission=Emission.RETROREFLECTIVE)


def _sign_faces(kind: int) -> list[Faces]:
    return [
        lambda: [_plaque(0.34, 0, _RED), _plaque(0.25, 1, _WHITE), _board((-0.11, 0.11), (-0.1, 0.1), 2, _BLACK)],
        lambda: [_plaque(0.34, 0, _BLUE), _board((-0.05, 0.05), (-0.2, 0.2), 1, _WHITE)],
        lambda: [
            _triangle(0.46, 0, _RED, 1.0),
            _triangle(0.31, 1, _WHITE, 1.0),
            _board((-0.04, 0.04), (-0.08, 0.16), 2, _BLACK),
        ],
        lambda: [_triangle(0.46, 0, _RED, -1.0), _triangle(0.31, 1, _WHITE, -1.0)],
        lambda: [
            _board((-0.85, 0.85), (-0.35, 0.5), 0, _BLUE),
            _board((-0.6, 0.45), (-0.02, 0.07), 1, _WHITE),
            _board((-0.6, 0.2), (0.22, 0.31), 1, _WHITE),
        ],
        lambda: [_board((-0.6, 0.6), (-0.25, 0.3), 0, _YELLOW), _board((-0.4, 0.4), (-0.02, 0.08), 1, _BLACK)],
        lambda: [_plaque(0.34, 0, _RED), _plaque(0.27, 1, _BLUE), _board((-0.2, 0.2), (-0.04, 0.04), 2, _RED)],
        lambda: [
            _board((-0.3, 0.3), (-0.3, 0.3), 0, _BLUE),
            _board((-0.17, -0.07), (-0.2, 0.2), 1, _WHITE),
            _board((-0.07, 0.14), (0.0, 0.2), 1, _WHITE),
        ],
    ][kind]()


@lru_cache(maxsize=NUM_SIGN_KINDS)
def sign_template(kind: int) -> Faces:
    """A sign facing -z on its post: ban, order, warning, give way, direction board, notice, no stopping, parking."""
    half = 0.28
    back = [
        (-half, _SIGN_Y - half, -0.02),
        (half, _SIGN_Y - half, -0.02),
        (half, _SIGN_Y + half, -0.02),
        (-half, _SIGN_Y + half, -0.02),
    ]
    return join(_post(2.9, 0.08), face(back, (0.2, 0.2, 0.2), TRAFFIC_SIGN), gather(_sign_faces(kind)))
