# SPDX-License-Identifier: Apache-2.0
"""Colours of a clear day: textures by material, sun and sky light, haze and the camera's tone curve.

Light is kept by channel, [3, H * W] linear, since numpy is several times faster so.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import Material
from vltseg_core.data.scene_ground import GroundSurface
from vltseg_core.data.scene_noise import Floats, cloudy_noise, grainy_noise, remainder, sample
from vltseg_core.data.scene_renderer import GeometryBuffer
from vltseg_core.data.scene_style import SceneStyle, Triple

# By material: texels a metre of its noise, and the noise's strength.
_NOISE_SCALE = np.array([8, 50, 0, 20, 28, 30, 4, 3, 20, 30, 16], np.float32)
_NOISE_STRENGTH = np.array([0.2, 0, 0, 0.4, 0.3, 0.7, 0.08, 0.25, 0.4, 0.6, 0.6], np.float32)
_SKY_STEP = 2


class Radiance(NamedTuple):
    """Linear light by pixel, before exposure, and what the conditions need of it."""

    colour: Floats  # [3, H * W]
    window_lit: Floats  # [H * W] 0..1: how much of a window that shines at night


class _Pixels(NamedTuple):
    """The pixels of one material."""

    at: NDArray[np.intp]
    ids: NDArray[np.int32]
    u: Floats
    v: Floats
    depth: Floats

    @classmethod
    def of(cls, buffer: GeometryBuffer, at: NDArray[np.intp]) -> _Pixels:
        return cls(
            at,
            buffer.face_ids.ravel().take(at),
            buffer.u.ravel().take(at),
            buffer.v.ravel().take(at),
            buffer.depth.ravel().take(at),
        )


def shade(style: SceneStyle, buffer: GeometryBuffer, ground: GroundSurface) -> Radiance:
    """Light that reaches the camera from every pixel of a clear day."""
    num_pixels = buffer.face_ids.size
    light = _face_light(style, buffer)  # [3, F]
    colour = np.zeros((3, num_pixels), np.float32)
    window_lit = np.zeros(num_pixels, np.float32)
    material = buffer.material
    solid = _Pixels.of(buffer, np.flatnonzero((material != Material.GROUND) & (material != Material.SKY)))
    lit = np.ascontiguousarray(buffer.faces["colour"].T) * light
    texture = _texture(buffer, solid)
    for channel in range(3):
        colour[channel, solid.at] = lit[channel].take(solid.ids) * texture
    _shade_facades(style, buffer, colour, light, window_lit)
    _shade_foliage(style, buffer, colour)
    _shade_bodywork(style, buffer, colour)
    _shade_glass(style, buffer, colour)
    _shade_fences(buffer, colour)
    _light_ground(style, colour, ground)
    depth = np.minimum(buffer.depth.ravel(), np.float32(400.0))
    clearness = np.exp(depth * np.float32(-style.haze))
    colour *= clearness
    np.subtract(1.0, clearness, out=clearness)
    for channel in range(3):
        colour[channel] += clearness * np.float32(style.sky_horizon[channel])
    _shade_sky(style, buffer, colour)
    return Radiance(colour, window_lit)


def _face_light(style: SceneStyle, buffer: GeometryBuffer) -> Floats:
    normals, material = buffer.normals, buffer.faces["material"]
    to_sun = np.maximum(normals @ np.asarray(style.sun_direction, np.float32), 0.0)
    to_sun = np.where((material == Material.FOLIAGE) | (material == Material.CLOTH), 0.25 + 0.3 * to_sun, to_sun)
    sky = 0.75 + 0.25 * normals[:, 1]
    return np.stack([np.float32(a) * sky + np.float32(s) * to_sun for a, s in zip(style.ambient, style.sun, strict=True)]).astype(
        np.float32
    )


def ray_up(buffer: GeometryBuffer) -> Floats:
    """The upward part of each row's rays at forward component 1, [H]."""
    camera = buffer.camera
    return np.asarray(-(camera.ray_y[:, 0] * np.cos(camera.pitch) + np.sin(camera.pitch)), np.float32)


def _texture(buffer: GeometryBuffer, pixels: _Pixels) -> Floats:
    kind = buffer.material.take(pixels.at)
    scale = _NOISE_SCALE.take(kind)
    offset = pixels.ids * np.float32(37)
    noise = sample(grainy_noise(), pixels.u * scale + offset, pixels.v * scale) - 0.5
    coarse = sample(cloudy_noise(), pixels.u * 4 + offset, pixels.v * 4) - 0.5
    near = 1.2 / (1.0 + pixels.depth * 0.02)
    texture = 1.0 + _NOISE_STRENGTH.take(kind) * (noise * near + 0.8 * coarse)
    above_ground = buffer.camera.position[1] + ray_up(buffer).take(pixels.at // buffer.face_ids.shape[1]) * pixels.depth
    return np.asarray(texture * (0.78 + 0.22 * np.clip(above_ground, 0.0, 1.0)), np.float32)


def _soft_band(position: Floats, half: Floats | float, footprint: Floats) -> Floats:
    """1 within `half` of 0, softened over a pixel's footprint."""
    return np.asarray(np.clip((half - np.abs(position)) / footprint + 0.5, 0.0, 1.0), np.float32)


def _shade_facades(style: SceneStyle, buffer: GeometryBuffer, colour: Floats, light: Floats, window_lit: Floats) -> None:
    at = np.flatnonzero(buffer.material == Material.FACADE)
    if not len(at):
        return
    pixels = _Pixels.of(buffer, at)
    bay, storey, fill, chance = (np.ascontiguousarray(column).take(pixels.ids) for column in buffer.faces["params"].T)
    footprint = np.maximum(pixels.depth * np.float32(1.3 / buffer.camera.focal_px), 1e-3)
    across, up = pixels.u / bay, pixels.v / storey
    bay_number, storey_number = np.floor(across), np.floor(up)
    across -= bay_number + 0.5
    up -= storey_number + 0.5
    soft_u, soft_v = footprint / bay, footprint / storey
    shop = (storey_number == 0) & (chance > 0.45)
    half_u = np.where(shop, np.float32(0.44), 0.14 + 0.26 * fill)
    half_v = np.where(shop, np.float32(0.36), 0.22 + 0.32 * np.abs(fill - 0.5))
    frame = _soft_band(across, half_u + 0.035, soft_u) * _soft_band(up, half_v + 0.03, soft_v)
    pane = _soft_band(across, half_u, soft_u) * _soft_band(up, half_v, soft_v)
    bar = pane * _soft_band(across, 0.012, soft_u) * (0.7 * (fill < 0.55))
    pane -= bar
    frame -= pane
    cell = sample(grainy_noise(), bay_number * 7 + pixels.ids * np.float32(13), storey_number * 11 + pixels.ids * np.float32(5))
    curtain = np.clip((cell - 0.62) * 5, 0, 1)
    reflection = (0.02 + 0.16 * np.clip(up + 0.5, 0, 1) * np.square(cell) * 2) * (1 - curtain) * pane
    courses = (1.0 - (0.25 * (chance > 0.3)) * _soft_band(remainder(pixels.v, 0.3) - 0.15, 0.03, footprint * 1.5)).astype(
        np.float32
    )
    courses *= 1.0 - (0.3 * (chance > 0.6)) * _soft_band(up + 0.5, 0.025, soft_v)
    courses *= 1.0 - frame - pane
    fascia = shop & (up > 0.38)
    of_light = frame * np.where(chance > 0.5, np.float32(0.6), np.float32(0.12)) + pane * curtain * 0.33
    for channel in range(3):
        wall = colour[channel].take(at)
        received = light[channel].take(pixels.ids)
        board = np.square(remainder(chance * (7.3, 3.1, 5.7)[channel], 1.0)) * 0.6 * received
        colour[channel, at] = (
            np.where(fascia, board, wall) * courses + received * of_light + reflection * np.float32(style.sky_horizon[channel])
        )
    window_lit[at] = pane * (remainder(cell * 13.7 + chance, 1.0) > 0.62)


def _shade_foliage(style: SceneStyle, buffer: GeometryBuffer, colour: Floats) -> None:
    at = np.flatnonzero(buffer.material == Material.FOLIAGE)
    if not len(at):
        return
    pixels = _Pixels.of(buffer, at)
    size = np.maximum(np.ascontiguousarray(buffer.faces["params"][:, 2]).take(pixels.ids), 1.0)
    height = np.clip(pixels.v / size, 0, 1)
    offset = pixels.ids * np.float32(31)
    clumps = sample(cloudy_noise(), pixels.u * 26 + offset, pixels.v * 26)
    leaves = sample(grainy_noise(), pixels.u * 30 + offset, pixels.v * 30)
    direct = np.float32(1.0 + 0.4 * (1.0 - style.overcast))
    shape = (0.45 + 0.55 * height) * (0.25 + 1.2 * clumps) * (0.12 + 3.2 * np.square(leaves)) * direct
    gaps = np.clip((leaves - 0.9) * 5.0, 0.0, 0.5) * (1.2 - clumps)  # where the sky shows between the leaves
    for channel in range(3):
        colour[channel, at] = colour[channel].take(at) * shape + gaps * np.float32(0.5 * style.sky_horizon[channel])


def _shade_bodywork(style: SceneStyle, buffer: GeometryBuffer, colour: Floats) -> None:
    at = np.flatnonzero(buffer.material == Material.PAINTED_METAL)
    pixels = _Pixels.of(buffer, at)
    mirrored = sample(cloudy_noise(), pixels.u * 26 + pixels.ids, pixels.v * 90)
    seam = _soft_band(remainder(pixels.u, 1.15) - 0.55, 0.012, pixels.depth * np.float32(1.0 / buffer.camera.focal_px))
    tone = (0.7 + 0.6 * np.clip(pixels.v * 1.4, 0, 1)) * (1.0 - 0.5 * seam)
    gloss = 0.11 * np.square(mirrored) * np.clip(0.2 + pixels.v, 0, 1)
    for channel in range(3):
        colour[channel, at] = colour[channel].take(at) * tone + gloss * np.float32(style.sky_horizon[channel])


def _shade_glass(style: SceneStyle, buffer: GeometryBuffer, colour: Floats) -> None:
    at = np.flatnonzero(buffer.material == Material.GLASS)
    pixels = _Pixels.of(buffer, at)
    reflection = (
        np.clip(0.25 + 0.5 * pixels.v, 0, 1) * (0.4 + 0.6 * sample(cloudy_noise(), pixels.u * 30 + 91, pixels.v * 60)) * 0.16
    )
    for channel in range(3):
        colour[channel, at] = colour[channel].take(at) + reflection * np.float32(style.sky_horizon[channel])


def _shade_fences(buffer: GeometryBuffer, colour: Floats) -> None:
    at = np.flatnonzero(buffer.material == Material.FENCE)
    pixels = _Pixels.of(buffer, at)
    kind, height = (np.ascontiguousarray(buffer.faces["params"][:, i]).take(pixels.ids) for i in range(2))
    footprint = pixels.depth / buffer.camera.focal_px
    upright = _soft_band(remainder(pixels.u, 0.14) - 0.07, 0.018, footprint)
    rails = np.maximum(_soft_band(pixels.v - 0.12, 0.03, footprint), _soft_band(pixels.v - height + 0.06, 0.035, footprint))
    railing = np.maximum(upright, rails)
    boards = 1.0 - 0.6 * _soft_band(remainder(pixels.u, 0.16) - 0.08, 0.012, footprint)
    beam = 0.55 + 0.45 * np.cos(pixels.v * 25.0)
    tone = np.select([kind == 0, kind == 1, kind == 2], [0.35 + 0.65 * railing, boards, 0.7 + 0.3 * railing], beam).astype(
        np.float32
    )
    for channel in range(3):
        colour[channel, at] = colour[channel].take(at) * tone


def _light_ground(style: SceneStyle, colour: Floats, ground: GroundSurface) -> None:
    direct = max(0.0, style.sun_direction[1])
    contact = 1.0 - (0.45 if style.overcast > 0.5 else 0.15) * ground.shadow
    sunlit = 1.0 - ground.shadow
    for channel in range(3):
        received = (np.float32(style.ambient[channel]) + np.float32(style.sun[channel] * direct) * sunlit) * contact
        colour[channel, ground.pixels] = ground.albedo[channel] * received


def sky_light(style: SceneStyle, up: Floats, across: Floats, cloudiness: float, horizon: Triple, zenith: Triple) -> Floats:
    """Sky [3, N] seen along rays: `up` and `across` are their vertical and horizontal parts at forward component 1."""
    up = np.maximum(up, 0.0)
    climb = np.clip(up * 2.2, 0, 1) ** np.float32(0.7)
    spread = 1.0 / (up + 0.12)
    drift = np.float32((style.seed % 97) * 5)
    cloud = 0.65 * sample(cloudy_noise(), across * spread * 40 + drift, spread * 55)
    cloud += 0.35 * sample(cloudy_noise(), across * spread * 130, spread * 160)
    cover = 0.75 * np.clip((cloud - np.float32(1.0 - cloudiness)) * 3.0, 0, 1)
    bright = np.float32(1.15 - 0.45 * style.overcast)
    return np.stack([(h + (z - h) * climb) * (1 - cover) + h * bright * cover for h, z in zip(horizon, zenith, strict=True)])


def _shade_sky(style: SceneStyle, buffer: GeometryBuffer, colour: Floats) -> None:
    rows = np.flatnonzero((buffer.face_ids == 1).any(1))
    if not len(rows):
        return
    height, width = int(rows[-1]) + 1, buffer.face_ids.shape[1]
    coarse = (max(1, height // _SKY_STEP), max(1, width // _SKY_STEP))
    camera = buffer.camera
    up = np.broadcast_to(cv2.resize(ray_up(buffer)[:height, None], (1, coarse[0]), interpolation=cv2.INTER_AREA), coarse)
    across = np.broadcast_to(
        cv2.resize(camera.ray_x, (coarse[1], 1), interpolation=cv2.INTER_AREA) + np.float32(np.tan(camera.yaw)), coarse
    )
    sky = sky_light(
        style,
        np.asarray(up, np.float32).ravel(),
        np.asarray(across, np.float32).ravel(),
        style.cloudiness,
        style.sky_horizon,
        style.sky_zenith,
    )
    at = np.flatnonzero(buffer.material[: height * width] == Material.SKY)
    for channel in range(3):
        colour[channel, at] = cv2.resize(sky[channel].reshape(coarse), (width, height)).ravel().take(at)


def develop(style: SceneStyle, colour: Floats, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Linear light [3, H * W] as the camera's 8-bit RGB picture [H, W, 3]: exposure, cast, shoulder, gamma."""
    planes = []
    for channel in range(3):
        light = colour[channel] * np.float32(style.colour_cast[channel] * style.exposure)
        np.maximum(light, 0.0, out=light)
        light *= 1.3 / (1.0 + 0.35 * light)
        np.sqrt(light, out=light)
        planes.append(
            cv2.convertScaleAbs(light.reshape(shape), alpha=255.0 * style.contrast, beta=255.0 * 0.45 * (1.0 - style.contrast))
        )
    return np.asarray(cv2.GaussianBlur(cv2.merge(planes), (3, 3), style.lens_blur), np.uint8)
