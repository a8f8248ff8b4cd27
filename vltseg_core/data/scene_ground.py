# SPDX-License-Identifier: Apache-2.0
"""The ground's labels and texture by pixel: road with marks, kerb, sidewalk, grass, side roads, crossings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import Material
from vltseg_core.data.scene_noise import Floats, cloudy_noise, grainy_noise, remainder, sample
from vltseg_core.data.scene_piece import PIECE_LENGTH, PROFILE_SAMPLES, GroundProfile
from vltseg_core.data.scene_renderer import GeometryBuffer
from vltseg_core.data.scene_style import SceneStyle

ROAD, SIDEWALK, TERRAIN = 0, 1, 9
_KERB_WIDTH = 0.16
_WHITE_PAINT = 0.62


class GroundSurface(NamedTuple):
    """The ground's pixels."""

    pixels: NDArray[np.intp]  # [N] places in the flattened picture
    lateral: Floats  # [N] metres from the road's middle, right positive
    ahead: Floats  # [N] metres along the world, from the base piece's start
    labels: NDArray[np.uint8]  # [N]
    albedo: Floats  # [3, N]
    shadow: Floats  # [N] 0 lit .. 1 in shadow


class _Patch(NamedTuple):
    """The pixels of one kind of ground, and what its texture is made of."""

    lateral: Floats
    ahead: Floats
    footprint: Floats  # metres a pixel, across the view
    fine: Floats  # noise of 2 cm, fading with distance, -0.5..0.5
    middling: Floats  # noise of 8 cm to 10 m
    broad: Floats  # noise of metres


def draw_ground(style: SceneStyle, buffer: GeometryBuffer, profiles: list[GroundProfile], base_z: float) -> GroundSurface:
    """Label and texture the ground; `profiles` are the pieces from `base_z` on. Writes the labels into the buffer."""
    pixels = np.flatnonzero(buffer.material == Material.GROUND)
    x, z, depth = (plane.ravel().take(pixels) for plane in (buffer.u, buffer.v, buffer.depth))
    lateral = x - _road_middle(style, z, base_z, PIECE_LENGTH * len(profiles) + 400.0)
    samples = PROFILE_SAMPLES * len(profiles)
    along = np.clip(z * np.float32(PROFILE_SAMPLES / PIECE_LENGTH), 0, samples - 1).astype(np.intp)
    by_side = along + (lateral > 0) * samples

    def profile(name: str) -> NDArray[Any]:
        return np.asarray(np.concatenate([getattr(profile, name) for profile in profiles], axis=-1).ravel())

    width = np.abs(lateral)
    from_kerb = width - profile("road_end").take(by_side)
    is_road = from_kerb < 0
    is_grass = (from_kerb > _KERB_WIDTH) & (width < profile("verge_end").take(by_side))
    is_grass |= ~is_road & profile("grassy_yard").take(by_side) & (width >= profile("sidewalk_end").take(by_side))
    labels = np.where(is_road, np.uint8(ROAD), np.where(is_grass, np.uint8(TERRAIN), np.uint8(SIDEWALK)))
    buffer.labels.ravel()[pixels] = labels

    footprint = np.maximum(depth * np.float32(1.0 / buffer.camera.focal_px), 1e-3)
    fine = (sample(grainy_noise(), x * 50, z * 50) - 0.5) / (1.0 + footprint * 40)
    middling = sample(cloudy_noise(), x * 12.5, z * 12.5) - 0.5
    broad = sample(cloudy_noise(), x * 25 + 77, z * 3.125) - 0.5
    whole = _Patch(lateral, z, footprint, fine, middling, broad)
    albedo = np.empty((3, len(pixels)), np.float32)
    markings = {name: profile(name) for name in ("crossing", "stop_line", "junction")}
    for label in (ROAD, SIDEWALK, TERRAIN):
        chosen = np.flatnonzero(labels == label)
        patch = _Patch(*(plane.take(chosen) for plane in whole))
        if label == ROAD:
            at = along.take(chosen)
            colours = _road(style, patch, {name: flags.take(at) for name, flags in markings.items()})
        elif label == SIDEWALK:
            colours = _sidewalk(style, patch, from_kerb.take(chosen))
        else:
            colours = _grass(style, patch)
        for channel in range(3):
            albedo[channel, chosen] = colours[channel]
    return GroundSurface(pixels, lateral, z, labels, albedo, buffer.shadow.ravel().take(pixels))


def _road_middle(style: SceneStyle, z: Floats, base_z: float, reach: float) -> Floats:
    """x of the road's middle at each z, from knots 1 m apart."""
    knots = np.asarray(style.centre_x(np.arange(base_z - 10.0, base_z + reach, 1.0, np.float64)), np.float32)
    place = np.clip(z + 10.0, 0, len(knots) - 1.001).astype(np.float32)
    knot = place.astype(np.intp)
    left = knots.take(knot)
    return np.asarray(left + (np.append(knots[1:], knots[-1]).take(knot) - left) * (place - knot.astype(np.float32)), np.float32)


def _stripe(distance: Floats, half_width: float, footprint: Floats) -> Floats:
    return np.clip((half_width - np.abs(distance)) / footprint + 0.5, 0.0, np.minimum(1.0, 2 * half_width / footprint))


def _road(style: SceneStyle, patch: _Patch, flags: dict[str, NDArray[Any]]) -> list[Floats]:
    lane = patch.lateral * np.float32(1.0 / style.lane_width)
    tone = 1.0 + 0.5 * patch.fine + 0.22 * patch.middling + 0.35 * patch.broad
    tone *= 1.0 - 0.07 * np.cos(lane * np.float32(4 * np.pi))
    tone *= 0.93 + 0.14 * sample(
        grainy_noise(), np.floor(lane) * 5 + style.seed, np.floor(patch.ahead * np.float32(1 / 10.24)) * 3
    )
    tone *= 1.0 - 0.3 * np.clip(1.0 - np.abs(patch.middling) * 60, 0, 1) * (patch.footprint < 0.03)
    crossing, stop_line = flags["crossing"], flags["stop_line"]
    paint = _marks(style, patch) * ~(flags["junction"] | crossing | stop_line)
    if crossing.any() or stop_line.any():
        inside = np.abs(patch.lateral) < style.road_half_width
        zebra = (remainder(patch.lateral, 1.2) < 0.6) & crossing & inside
        paint = np.maximum(paint, zebra | (stop_line & inside & (patch.lateral * np.float32(style.ego_lateral) > 0)))
    paint = paint * (0.55 + 0.4 * np.clip(0.5 + patch.middling * 2 + patch.fine, 0, 1))
    if style.tram:
        side = -1.0 if style.keep_right else 1.0
        from_bed = patch.lateral - np.float32(side * (style.road_half_width + style.parking_width + 1.65))
        rails = np.maximum(_stripe(from_bed - 0.72, 0.05, patch.footprint), _stripe(from_bed + 0.72, 0.05, patch.footprint))
        tone *= 1 - 0.65 * rails
    tone *= 1.0 - paint
    paint *= _WHITE_PAINT
    return [tone * np.float32(style.asphalt * tint) + paint for tint in style.asphalt_tint]


def _marks(style: SceneStyle, patch: _Patch) -> Floats:
    """Coverage of lane marks, 0..1."""
    lateral, footprint = patch.lateral, patch.footprint
    period = PIECE_LENGTH / (4 + style.seed % 3)
    duty = 0.35 + 0.05 * (style.seed % 5)
    dash = np.clip((duty * period / 2 - np.abs(remainder(patch.ahead, period) - period / 2)) / (footprint * 4) + 0.5, 0, 1)
    half = 0.06 + 0.01 * (style.seed % 3)
    if style.lanes_each_way > 1:
        middle = _stripe(np.abs(lateral) - 0.14, half, footprint)
        paint = np.maximum(middle, _stripe(np.abs(lateral) - style.lane_width, half, footprint) * dash)
    else:
        paint = _stripe(lateral, half, footprint) * (dash if style.seed % 4 else 1.0)
    if style.edge_lines:
        paint = np.maximum(paint, _stripe(np.abs(lateral) - style.road_half_width + 0.12, half, footprint))
    return np.asarray(paint, np.float32)


def _sidewalk(style: SceneStyle, patch: _Patch, from_kerb: Floats) -> list[Floats]:
    size = PIECE_LENGTH / (64 if style.seed % 2 else 96)
    across, ahead = patch.lateral * np.float32(1 / size), patch.ahead * np.float32(1 / size)
    column, row = np.floor(across), np.floor(ahead)
    joint = np.maximum(
        _stripe((across - column - 0.5) * size, 0.012, patch.footprint),
        _stripe((ahead - row - 0.5) * size, 0.012, patch.footprint),
    )
    tone = (1.0 + 0.3 * patch.fine + 0.25 * patch.middling) * (1.0 - 0.35 * joint)
    tone *= 0.9 + 0.2 * sample(grainy_noise(), column * 3, row * 7)
    tone *= 1.0 - 0.4 * (from_kerb < 0.03)
    stone = from_kerb < _KERB_WIDTH
    return [np.where(stone, np.float32(0.3), np.float32(channel)) * tone for channel in style.paving]


def _grass(style: SceneStyle, patch: _Patch) -> list[Floats]:
    blades = 1.0 + patch.fine * 1.3 + patch.middling * 0.8 + patch.broad * 0.5
    dry = np.clip(patch.middling * 3 - 0.6, 0, 1)
    blades *= 1 - dry
    return [
        blades * np.float32(green) + dry * np.float32(earth) for green, earth in zip(style.grass, (0.16, 0.12, 0.07), strict=True)
    ]
