# SPDX-License-Identifier: Apache-2.0
"""What shines in a street at night: lamps with their pools of light, cars that come towards one or drive ahead.

Places in metres from the camera: x to the right, y downwards, z ahead. H and W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Light = NDArray[np.float32]
Place = tuple[float, float, float]

_CAMERA_HEIGHT_M = 1.5
_LAMP_COLOURS = ((1.0, 0.50, 0.16), (1.0, 0.72, 0.42), (1.0, 0.93, 0.80), (0.85, 0.95, 1.0))  # sodium, warm, neutral and cold LED
_HEADLIGHT_COLOURS = ((1.0, 0.84, 0.60), (0.92, 0.97, 1.0))  # halogen, LED


class Lamp(NamedTuple):
    """One light. glare: of the lamp itself, 1 is white. power: on a surface 1 m away; 0 for what dazzles and lights nothing."""

    place: Place
    radius_m: float
    colour: tuple[float, float, float]
    glare: float
    power: float


def lamps_of_a_street(rng: np.random.Generator) -> list[Lamp]:
    """Street lamps on one side or both, in most streets; up to three cars that come and two ahead."""
    lamps: list[Lamp] = []
    if rng.random() < 0.75:
        colour, height_m = _LAMP_COLOURS[int(rng.integers(len(_LAMP_COLOURS)))], rng.uniform(5.0, 9.0)
        spacing_m, aside_m, power = rng.uniform(18.0, 40.0), rng.uniform(4.0, 8.5), rng.uniform(4.0, 16.0)
        sides = ((-1.0, 1.0), (-1.0,), (1.0,))[int(rng.integers(3))]
        for number in range(6):
            ahead_m = rng.uniform(0.2, 0.9) * spacing_m + number * spacing_m
            for side in sides:
                place = (side * aside_m + rng.normal(0, 0.3), _CAMERA_HEIGHT_M - height_m, ahead_m + side * 0.2 * spacing_m)
                lamps.append(Lamp(place, 0.22, colour, rng.uniform(3.0, 8.0), power))
    oncoming_side = rng.choice((-1.0, 1.0))  # they drive on the left or on the right
    for _ in range(int(rng.integers(4))):
        middle, ahead_m = oncoming_side * rng.uniform(2.2, 4.5), rng.uniform(12.0, 90.0)
        colour = _HEADLIGHT_COLOURS[int(rng.integers(2))]
        lamps += [Lamp((middle + half, 0.85, ahead_m), 0.11, colour, rng.uniform(4.0, 14.0), 0.0) for half in (-0.65, 0.65)]
    for _ in range(int(rng.integers(3))):
        middle, ahead_m = -oncoming_side * rng.uniform(0.0, 2.0), rng.uniform(10.0, 60.0)
        lamps += [Lamp((middle + half, 0.6, ahead_m), 0.10, (1.0, 0.06, 0.04), 1.6, 0.0) for half in (-0.65, 0.65)]
    return lamps


def light_on_surfaces(lamps: list[Lamp], depth_m: Light, ray_x: Light, ray_y: Light) -> Light:
    """How much of the lamps' light falls on what is seen, [H, W, 3]; `ray_x` [1, W] and `ray_y` [H, 1] as for `headlight_beam`.

    Falls with the square of the distance; between a wall that faces the lamp and ground that lies below it.
    """
    distance = np.minimum(depth_m, np.float32(1e3))
    x, y = ray_x * distance, ray_y * distance
    light = np.zeros((*depth_m.shape, 3), np.float32)
    for colour in dict.fromkeys(lamp.colour for lamp in lamps if lamp.power):
        falling = np.zeros(depth_m.shape, np.float32)
        for place, power in (
            (np.array(lamp.place, np.float32), lamp.power) for lamp in lamps if lamp.power and lamp.colour == colour
        ):
            below = y - place[1]
            squared = np.square(x - place[0]) + np.square(below) + np.square(distance - place[2]) + np.float32(1.0)
            downward = np.maximum(below, 0.0) / np.sqrt(squared)
            falling += np.float32(power) * (np.float32(0.25) + np.float32(0.75) * downward) / squared
        light += falling[..., None] * np.array(colour, np.float32)
    return light


def glare(lamps: list[Lamp], depth_m: Light, focal_px: float, horizon_px: float) -> Light:
    """The lamps themselves, [H, W, 3], where nothing nearer hides them; what is smaller than a pixel gets dimmer."""
    height, width = depth_m.shape
    shining = np.zeros((height, width, 3), np.float32)
    for lamp in lamps:
        x, y, z = lamp.place
        column, row = (width - 1) / 2 + focal_px * x / z, horizon_px + focal_px * y / z
        if not (0 <= column <= width - 1 and 0 <= row <= height - 1):
            continue
        if depth_m[round(row), round(column)] < 0.6 * z:
            continue
        radius = focal_px * lamp.radius_m / z
        strength = lamp.glare * min(1.0, (radius / 0.8) ** 2)
        colour = tuple(strength * part for part in lamp.colour)
        cv2.circle(shining, (round(column * 8), round(row * 8)), round(max(radius, 0.8) * 8), colour, -1, cv2.LINE_8, 3)
    return shining
