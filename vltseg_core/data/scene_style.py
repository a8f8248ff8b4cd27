# SPDX-License-Identifier: Apache-2.0
"""What a seed decides once for its whole world: light, camera, street layout, colours and traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]

WALL_COLOURS: tuple[Triple, ...] = (
    (0.36, 0.16, 0.10),
    (0.28, 0.11, 0.08),
    (0.48, 0.38, 0.24),
    (0.60, 0.55, 0.44),
    (0.72, 0.70, 0.66),
    (0.55, 0.40, 0.22),
    (0.30, 0.29, 0.28),
    (0.44, 0.42, 0.40),
    (0.66, 0.52, 0.36),
    (0.22, 0.18, 0.15),
    (0.62, 0.60, 0.50),
    (0.35, 0.38, 0.42),
)
ROOF_COLOURS: tuple[Triple, ...] = (
    (0.20, 0.07, 0.045),
    (0.09, 0.085, 0.09),
    (0.14, 0.09, 0.07),
    (0.26, 0.12, 0.07),
    (0.12, 0.13, 0.14),
)
CAR_COLOURS: tuple[Triple, ...] = (
    (0.45, 0.46, 0.48),
    (0.28, 0.29, 0.30),
    (0.02, 0.02, 0.022),
    (0.05, 0.055, 0.06),
    (0.75, 0.75, 0.74),
    (0.35, 0.02, 0.02),
    (0.02, 0.05, 0.22),
    (0.04, 0.10, 0.20),
    (0.03, 0.14, 0.08),
    (0.10, 0.03, 0.04),
    (0.55, 0.10, 0.03),
    (0.13, 0.13, 0.14),
    (0.40, 0.36, 0.26),
    (0.62, 0.63, 0.65),
    (0.50, 0.38, 0.04),
)


def toned(colour: Triple, tone: float) -> Triple:
    """A colour made lighter or darker."""
    return (colour[0] * tone, colour[1] * tone, colour[2] * tone)


@dataclass(frozen=True)
class SceneStyle:
    """One world's constants: metres, radians, linear RGB; lateral positions are positive to the right."""

    seed: int
    camera_height: float
    focal_factor: float
    pitch: float
    speed: float
    curve: tuple[tuple[float, float, float], ...]
    keep_right: bool
    lane_width: float
    lanes_each_way: int
    parking_width: float
    verge_width: float
    sidewalk_width: float
    setback: float
    urbanity: float
    greenness: float
    tree_spacing: float
    bare_share: float
    leaf: Triple
    tram: bool
    traffic_gap: float
    bus_share: float
    truck_share: float
    parked_share: float
    people_gap: float
    cyclist_gap: float
    sun_direction: Triple
    sun: Triple
    ambient: Triple
    overcast: float
    sky_zenith: Triple
    sky_horizon: Triple
    cloudiness: float
    asphalt: float
    asphalt_tint: Triple
    paving: Triple
    grass: Triple
    grass_share: float
    edge_lines: bool
    exposure: float
    colour_cast: Triple
    contrast: float
    haze: float
    lens_blur: float

    @property
    def road_half_width(self) -> float:
        """Half the carriageway without parking."""
        return self.lane_width * self.lanes_each_way

    @property
    def ego_lateral(self) -> float:
        """The middle of the ego car's lane: the outer lane of its side."""
        return (1.0 if self.keep_right else -1.0) * self.lane_width * (self.lanes_each_way - 0.5)

    def far_to_near_key(self, lateral: float, z: float) -> float:
        """What objects are drawn by, largest first: how far ahead and, a street being a corridor, how far aside."""
        return z + 2.2 * abs(lateral - self.ego_lateral)

    def centre_x(self, z: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Where the road's middle lies (metres, x) at a distance z (metres) along the world."""
        at = np.asarray(z, np.float64)
        return np.asarray(sum(a * np.sin(at / wavelength + phase) for a, wavelength, phase in self.curve), np.float64)

    def centre_at(self, z: float) -> float:
        """centre_x of one place."""
        return sum(a * math.sin(z / wavelength + phase) for a, wavelength, phase in self.curve)

    def slope(self, z: float) -> float:
        """The road's direction dx/dz at z."""
        return sum(a / wavelength * math.cos(z / wavelength + phase) for a, wavelength, phase in self.curve)


def _triple(values: NDArray[np.float64]) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))


def style_for(seed: int) -> SceneStyle:
    """The world of a seed; the same seed gives the same world everywhere."""
    rng = np.random.default_rng([seed, 1])
    overcast = float(np.clip(rng.uniform(-0.6, 1.1), 0.0, 1.0))
    elevation, azimuth = np.radians(rng.uniform(18, 65)), rng.uniform(0, 2 * np.pi)
    warmth = rng.uniform(0.0, 1.0) * (1.0 - float(elevation))
    sun = np.array([1.0, 0.95 - 0.12 * warmth, 0.88 - 0.3 * warmth]) * rng.uniform(1.7, 2.9) * (1 - 0.93 * overcast)
    ambient = (
        np.array([0.62, 0.7, 0.82]) * rng.uniform(0.3, 0.55) * (1 - overcast)
        + np.array([0.95, 0.98, 1.0]) * rng.uniform(0.75, 1.25) * overcast
    )
    white_sky = rng.random() < 0.35
    blue = np.array([0.10, 0.26, 0.62]) * rng.uniform(0.7, 1.5)
    grey = np.array([0.75, 0.79, 0.83]) * rng.uniform(0.75, 1.35)
    whiteness = max(overcast, 0.85 if white_sky else 0.0)
    zenith = blue * (1 - whiteness) + grey * whiteness
    horizon = np.array([0.62, 0.76, 0.92]) * rng.uniform(0.85, 1.3) * (1 - whiteness) + grey * rng.uniform(0.95, 1.3) * whiteness
    brightness = rng.uniform(1.3, 2.2)
    zenith, horizon = zenith * brightness, horizon * brightness
    urbanity = rng.uniform(0.0, 1.0)
    autumn = rng.random() < 0.22
    leaf = np.array([0.16, 0.085, 0.02]) if autumn else np.array([0.050, 0.085, 0.022]) * rng.uniform(0.6, 1.5)
    grass = np.array([0.10, 0.14, 0.035]) * rng.uniform(0.7, 1.4) + np.array([0.06, 0.03, 0.0]) * rng.uniform(0, 1)
    lanes = 2 if rng.random() < 0.22 else 1
    parking = rng.random() < 0.15 + 0.4 * urbanity
    return SceneStyle(
        seed=seed,
        camera_height=rng.uniform(1.25, 1.75),
        focal_factor=rng.uniform(0.9, 1.3),
        pitch=np.radians(rng.normal(1.0, 1.6)),
        speed=rng.uniform(6.0, 13.0),
        curve=(
            (rng.uniform(0, 9), rng.uniform(70, 120), rng.uniform(0, 6.28)),
            (rng.uniform(0, 1.5), rng.uniform(28, 45), rng.uniform(0, 6.28)),
        ),
        keep_right=bool(rng.random() < 0.5),
        lane_width=rng.uniform(2.9, 3.7),
        lanes_each_way=lanes,
        parking_width=2.2 if parking else 0.0,
        verge_width=float(rng.choice([0.0, rng.uniform(0.8, 4.5)], p=[0.25 + 0.5 * urbanity, 0.75 - 0.5 * urbanity])),
        sidewalk_width=rng.uniform(1.6, 5.0),
        setback=rng.uniform(0.0, 1.5) if urbanity > 0.55 else rng.uniform(2.0, 8.0),
        urbanity=urbanity,
        greenness=float(np.clip(1.15 - 0.95 * urbanity + rng.normal(0, 0.2), 0.1, 1.0)),
        tree_spacing=rng.uniform(5, 13) + 6 * urbanity,
        bare_share=1.0 if rng.random() < 0.15 else 0.06,
        leaf=_triple(leaf),
        tram=bool(rng.random() < 0.22),
        traffic_gap=rng.uniform(15, 55),
        bus_share=rng.uniform(0.02, 0.14),
        truck_share=rng.uniform(0.03, 0.14),
        parked_share=rng.uniform(0.35, 0.9),
        people_gap=rng.uniform(8, 38),
        cyclist_gap=rng.uniform(18, 60),
        sun_direction=_triple(
            np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        ),
        sun=_triple(sun),
        ambient=_triple(ambient),
        overcast=overcast,
        sky_zenith=_triple(zenith),
        sky_horizon=_triple(horizon),
        cloudiness=rng.uniform(0.0, 0.9),
        asphalt=rng.uniform(0.055, 0.2),
        asphalt_tint=_triple(1.0 + rng.normal(0, 0.03, 3) + rng.normal(0, 0.07) * np.array([1.0, 0.2, -1.0])),
        paving=_triple(np.array([0.26, 0.25, 0.235]) * rng.uniform(0.4, 1.3) * (1 + rng.normal(0, 0.06, 3))),
        grass=_triple(grass),
        grass_share=rng.uniform(0.45, 1.0) * (1.0 if urbanity < 0.6 else 0.45),
        edge_lines=bool(rng.random() < 0.45),
        exposure=rng.uniform(0.38, 1.15),
        colour_cast=_triple(1.0 + rng.normal(0, 0.035, 3) + rng.normal(0, 0.06) * np.array([1.0, 0.0, -1.0])),
        contrast=rng.uniform(1.0, 1.4),
        haze=rng.uniform(0.0003, 0.0016),
        lens_blur=rng.uniform(0.3, 0.75),
    )


def clothes(rng: np.random.Generator) -> list[Triple]:
    """Colours of a jacket, trousers and skin."""
    hue = rng.random(6)
    jacket, trousers = 0.02 + 0.38 * rng.random() ** 1.5, 0.015 + 0.1 * rng.random()
    return [
        toned((0.3 + 1.4 * hue[0], 0.3 + 1.4 * hue[1], 0.3 + 1.4 * hue[2]), jacket),
        toned((0.7 + 0.5 * hue[3], 0.7 + 0.5 * hue[4], 0.8 + 0.7 * hue[5]), trousers),
        toned((0.42, 0.25, 0.17), rng.uniform(0.35, 1.2)),
    ]
