# SPDX-License-Identifier: Apache-2.0
"""Vehicles as templates of faces: cars, vans, trucks, buses and trams, heading along +z, standing at 0."""

from __future__ import annotations

from functools import lru_cache

from vltseg_core.data.scene_faces import (
    Emission,
    Faces,
    Material,
    Paint,
    box,
    disc,
    face,
    gather,
    join,
    panel_across,
    prism,
)

CAR, TRUCK, BUS, TRAIN = 13, 14, 15, 16
_TYRE = (0.012, 0.012, 0.013)
_HUB = (0.22, 0.22, 0.23)
_GLASS = (0.02, 0.025, 0.03)
_BUMPER = (0.03, 0.03, 0.032)


def _axles(label: int, half_width: float, radius: float, places: tuple[float, ...]) -> Faces:
    """Tyres seen from the front and behind; drawn before the body, which hides what is between them."""
    parts = []
    for z in places:
        for side in (-1.0, 1.0):
            inner, outer = sorted((side * (half_width - 0.22), side * half_width))
            parts.append(box((inner, 0, z - 0.75 * radius), (outer, radius, z + 0.75 * radius), _TYRE, label, top=False))
    return gather(parts)


def _wheel_discs(label: int, half_width: float, radius: float, places: tuple[float, ...], hub: float) -> Faces:
    """Wheels seen from the side; drawn after the body."""
    parts = []
    for z in places:
        for side in (-1.0, 1.0):
            x = side * (half_width + 0.01)
            parts.append(disc((x, radius, z), radius, _TYRE, label, axis="x", facing=side))
            parts.append(disc((x + side * 0.01, radius, z), radius * hub, _HUB, label, axis="x", facing=side))
    return gather(parts)


def _side_panel(
    z: tuple[float, float],
    y: tuple[float, float],
    x: float,
    colour: tuple[float, float, float],
    label: int,
    material: Material = Material.GLASS,
    lean: float = 0.0,
    rake: tuple[float, float] = (0.0, 0.0),
) -> Faces:
    parts = []
    for side in (-1.0, 1.0):
        corners = [
            (side * x, y[0], z[0]),
            (side * x, y[0], z[1]),
            (side * (x - lean), y[1], z[1] - rake[1]),
            (side * (x - lean), y[1], z[0] + rake[0]),
        ]
        if side > 0:
            corners = [corners[1], corners[0], corners[3], corners[2]]
        parts.append(face(corners, colour, label, material=material))
    return gather(parts)


def _lamps(label: int, half_width: float, height: float, front: float, rear: float, size: float = 0.3) -> Faces:
    parts = []
    for side in (-1.0, 1.0):
        inner, outer = sorted((side * (half_width - size), side * (half_width - 0.04)))
        parts.append(
            panel_across((inner, outer), (height, height + 0.16), front + 0.02, 1.0, (0.75, 0.75, 0.7), label, Emission.HEADLIGHT)
        )
        parts.append(
            panel_across(
                (inner, outer),
                (height + 0.04, height + 0.26),
                rear - 0.02,
                -1.0,
                (0.4, 0.012, 0.012),
                label,
                Emission.TAIL_LIGHT,
            )
        )
    return gather(parts)


def _car(length: float, width: float, height: float, bonnet: float, boot: float, belt: float) -> Faces:
    """Body, tapered cabin, bumpers, plates, lamps and wheels; bonnet and boot are lengths before and behind it."""
    half, w = length / 2, width / 2
    body = [
        (-half, 0.28),
        (half, 0.28),
        (half + 0.04, 0.55),
        (half - 0.12, belt - 0.16),
        (half - bonnet, belt),
        (-half + boot, belt),
        (-half + 0.04, belt - (0.04 if boot > 0.3 else 0.0)),
        (-half - 0.02, 0.55),
    ]
    rear_rake, front_rake = (0.45, 0.75) if boot > 0.3 else (0.2, 0.7)
    cabin = [
        (-half + boot * 0.9, belt),
        (half - bonnet, belt),
        (half - bonnet - front_rake, height),
        (-half + boot * 0.9 + rear_rake, height),
    ]
    wheels = (-half + 0.78, half - 0.82)
    parts = [
        _axles(CAR, w, 0.31, wheels),
        box((-w * 0.9, 0.12, -half * 0.92), (w * 0.9, 0.3, half * 0.92), (0.006, 0.006, 0.007), CAR, top=False),
        prism(body, w, (0.5, 0.5, 0.5), CAR, paint=Paint.MAIN, material=Material.PAINTED_METAL),
        prism(
            cabin,
            (w - 0.04, w - 0.04, w - 0.2, w - 0.2),
            (0.5, 0.5, 0.5),
            CAR,
            paint=Paint.MAIN,
            material=Material.PAINTED_METAL,
            glass_edges=(1, 3),
        ),
        _side_panel(
            (cabin[0][0] + 0.22, cabin[1][0] - 0.25),
            (belt + 0.04, height - 0.1),
            w - 0.035,
            _GLASS,
            CAR,
            lean=0.13,
            rake=(rear_rake * 0.75, front_rake * 0.78),
        ),
        _side_panel((-0.1, 0.0), (belt, height - 0.05), w - 0.03, (0.03, 0.03, 0.03), CAR, material=Material.PLAIN, lean=0.15),
    ]
    for facing, z in ((1.0, half + 0.06), (-1.0, -half - 0.04)):
        parts.append(panel_across((-w * 0.97, w * 0.97), (0.26, 0.46), z, facing, _BUMPER, CAR))
        parts.append(panel_across((-0.26, 0.26), (0.48, 0.59), z, facing, (0.62, 0.6, 0.45), CAR))
    parts.append(panel_across((-w * 0.5, w * 0.5), (0.6, 0.72), half + 0.02, 1.0, (0.02, 0.02, 0.02), CAR))
    parts.append(_lamps(CAR, w, 0.62, half, -half))
    parts.append(_wheel_discs(CAR, w, 0.31, wheels, 0.6))
    return join(*parts)


@lru_cache(maxsize=1)
def car_templates() -> tuple[Faces, ...]:
    """Saloon, hatchback, small car, estate, four-wheel drive and van."""
    return (
        _car(4.5, 1.76, 1.43, 1.25, 0.75, 0.92),
        _car(4.0, 1.70, 1.46, 1.05, 0.12, 0.93),
        _car(3.5, 1.60, 1.50, 0.75, 0.08, 0.94),
        _car(4.6, 1.78, 1.47, 1.2, 0.1, 0.93),
        _car(4.5, 1.85, 1.78, 1.15, 0.06, 1.1),
        _car(4.9, 1.95, 2.15, 0.7, 0.04, 1.25),
    )


@lru_cache(maxsize=2)
def truck_templates(seen_from_ahead: bool) -> tuple[Faces, ...]:
    """A box truck and a lorry, the cab drawn over the box or the box over the cab, as seen from ahead or behind."""
    return (_truck(7.0, 2.3, 3.1, seen_from_ahead), _truck(11.5, 2.5, 3.8, seen_from_ahead))


def _truck(length: float, width: float, height: float, seen_from_ahead: bool) -> Faces:
    half, w, front = length / 2, width / 2, length / 2 - 1.9
    wheels = (-half + 1.1, -half + 2.2, half - 1.1) if length > 9 else (-half + 1.3, half - 1.1)
    cab_profile = [(front, 0.5), (half, 0.5), (half + 0.02, 1.3), (half - 0.25, height * 0.78), (front, height * 0.78)]
    metal = Material.PAINTED_METAL
    cab = [
        prism(cab_profile, w * 0.96, (0.5, 0.5, 0.5), TRUCK, paint=Paint.SECOND, material=metal, glass_edges=(2,)),
        _side_panel((half - 1.3, half - 0.35), (1.4, height * 0.72), w * 0.965, _GLASS, TRUCK),
    ]
    load = [
        box((-w, 0.95, -half), (w, height, front - 0.1), (0.6, 0.6, 0.6), TRUCK, paint=Paint.MAIN, material=metal),
        _side_panel((-half + 0.8, front - 1.0), (1.7, height - 0.7), w + 0.01, (0.3, 0.08, 0.06), TRUCK, Material.PLAIN),
        panel_across((-0.03, 0.03), (1.0, height - 0.1), -half - 0.01, -1.0, (0.1, 0.1, 0.1), TRUCK),
    ]
    return join(
        _axles(TRUCK, w, 0.5, wheels),
        box((-w * 0.8, 0.35, -half), (w * 0.8, 1.0, half - 0.3), (0.02, 0.02, 0.02), TRUCK),
        *((load + cab) if seen_from_ahead else (cab + load)),
        panel_across((-w, w), (0.55, 0.72), -half - 0.02, -1.0, (0.25, 0.02, 0.02), TRUCK, Emission.RETROREFLECTIVE),
        _lamps(TRUCK, w, 0.75, half, -half - 0.02),
        _wheel_discs(TRUCK, w, 0.5, wheels, 0.5),
    )


def _painted(faces: Faces, paint: Paint) -> Faces:
    faces["paint"] = paint
    return faces


def _coach(label: int, length: float, width: float, height: float, floor: float, wheels: tuple[float, ...]) -> Faces:
    half, w = length / 2, width / 2
    sill, head = floor + (height - floor) * 0.32, height - 0.55
    bays = max(3, round(length / 1.7))
    bay = (length - 0.8) / bays
    windows = [
        _side_panel((-half + 0.4 + i * bay + 0.08, -half + 0.4 + (i + 1) * bay - 0.08), (sill, head), w + 0.012, _GLASS, label)
        for i in range(bays)
    ]
    body = [
        (-half, floor),
        (half, floor),
        (half + 0.05, sill),
        (half - 0.15, height - 0.1),
        (half - 0.5, height),
        (-half + 0.2, height),
        (-half, height - 0.3),
    ]
    return join(
        *([_axles(label, w, 0.48, wheels)] if wheels else []),
        box((-w * 0.9, 0.15, -half * 0.95), (w * 0.9, floor + 0.1, half * 0.95), (0.01, 0.01, 0.01), label, top=False),
        prism(body, w, (0.5, 0.5, 0.5), label, paint=Paint.MAIN, material=Material.PAINTED_METAL, glass_edges=(2,)),
        _painted(
            _side_panel((-half, half), (floor, sill - 0.35), w + 0.006, (0.5, 0.5, 0.5), label, Material.PAINTED_METAL),
            Paint.SECOND,
        ),
        *windows,
        panel_across((-w * 0.85, w * 0.85), (sill + 0.1, head), -half - 0.012, -1.0, _GLASS, label, material=Material.GLASS),
        _painted(
            panel_across((-w * 0.95, w * 0.95), (floor, sill - 0.3), -half - 0.012, -1.0, (0.5, 0.5, 0.5), label),
            Paint.SECOND,
        ),
        panel_across(
            (-w * 0.6, w * 0.6),
            (height - 0.42, height - 0.12),
            -half - 0.02,
            -1.0,
            (0.6, 0.4, 0.05),
            label,
            Emission.SIGNAL,
        ),
        _lamps(label, w, floor + 0.35, half + 0.03, -half - 0.02),
        *([_wheel_discs(label, w, 0.48, wheels, 0.5)] if wheels else []),
    )


@lru_cache(maxsize=1)
def bus_template() -> Faces:
    """A city bus."""
    return _coach(BUS, 11.0, 2.5, 3.1, 0.35, (-3.2, 3.6))


TRAM_CAR_SPACING = 10.2
"""Metres between the middles of a tram's cars."""


@lru_cache(maxsize=1)
def tram_car_template() -> Faces:
    """One car of a tram with its coupling; Cityscapes calls a tram a train."""
    coupling = box((-0.9, 0.4, -5.1), (0.9, 3.2, 5.1), (0.02, 0.02, 0.02), TRAIN)
    return join(coupling, _coach(TRAIN, 9.8, 2.4, 3.5, 0.4, ()))
