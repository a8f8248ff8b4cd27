# SPDX-License-Identifier: Apache-2.0
"""The five conditions of a drawn scene, from the same geometry: light, surfaces, and weather before the lens."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import Emission, Material
from vltseg_core.data.scene_ground import ROAD, SIDEWALK, GroundSurface
from vltseg_core.data.scene_noise import Floats, cloudy_noise, sample
from vltseg_core.data.scene_renderer import GeometryBuffer
from vltseg_core.data.scene_shading import Radiance, develop, shade
from vltseg_core.data.scene_style import SceneStyle
from vltseg_core.data.weather import (
    add_bloom,
    add_lens_drops,
    add_rain_streaks,
    add_sensor_noise,
    add_snow_flakes,
    fog_airlight,
    headlight_beam,
    koschmieder_fog,
)

_MOST_LAMPS = 9


def light_of(style: SceneStyle, condition: str) -> SceneStyle:
    """The same world in a condition's light; street, camera and traffic stay as they are."""
    if condition == "clear":
        return style
    style = replace(style, exposure=0.6 + 0.35 * style.exposure, contrast=0.5 + 0.5 * style.contrast)
    if condition == "night":
        return replace(
            style,
            sun=(0.0, 0.0, 0.0),
            ambient=(1.0, 1.0, 1.0),
            overcast=1.0,
            sky_zenith=(0.02, 0.02, 0.03),
            sky_horizon=(0.02, 0.02, 0.03),
            cloudiness=0.0,
            haze=0.0,
        )
    if condition == "fog":
        return replace(style, sun=(0.1, 0.1, 0.1), ambient=(0.72, 0.74, 0.77), overcast=1.0, cloudiness=0.0)
    if condition == "rain":
        return replace(
            style,
            sun=(0.05, 0.05, 0.05),
            ambient=(0.5, 0.53, 0.57),
            overcast=1.0,
            cloudiness=0.8,
            sky_zenith=(0.42, 0.45, 0.5),
            sky_horizon=(0.62, 0.65, 0.69),
            haze=0.003,
        )
    if condition == "snow":
        return replace(
            style,
            sun=(0.08, 0.08, 0.08),
            ambient=(0.72, 0.75, 0.8),
            overcast=1.0,
            cloudiness=0.4,
            sky_zenith=(0.68, 0.71, 0.75),
            sky_horizon=(0.8, 0.83, 0.87),
            haze=0.004,
        )
    return style


def picture(
    style: SceneStyle, condition: str, buffer: GeometryBuffer, ground: GroundSurface, lamps: Floats, index: int
) -> NDArray[np.uint8]:
    """The camera's picture uint8 [H, W, 3] RGB; `style` is light_of's, `lamps` [M, 3] the street lamps near by."""
    shape = (buffer.camera.height_px, buffer.camera.width_px)
    rng = np.random.default_rng([style.seed, 4, index])
    of_world = np.random.default_rng([style.seed, 5])
    if condition == "night":
        return _night(style, buffer, shade(style, buffer, ground), lamps, rng, of_world)
    if condition == "snow":
        snowy, covered = _under_snow(style, buffer, ground)
        radiance = shade(style, snowy, covered)
        return add_snow_flakes(develop(style, radiance.colour, shape), rng, float(of_world.uniform(0.4, 1.0)))
    if condition == "rain":
        amount = float(of_world.uniform(0.4, 1.0))
        radiance = shade(style, buffer, ground._replace(albedo=ground.albedo * np.float32(0.62)))
        _mirror(style, buffer, ground, radiance.colour, amount)
        return add_lens_drops(
            add_rain_streaks(develop(style, radiance.colour, shape), rng, amount), of_world, int(5 + 22 * amount)
        )
    image = develop(style, shade(style, buffer, ground).colour, shape)
    if condition == "fog":
        visibility = float(np.exp(of_world.uniform(np.log(55), np.log(260))))
        return koschmieder_fog(image, buffer.depth, visibility_m=visibility, airlight=fog_airlight(of_world))
    return image


def _world_positions(buffer: GeometryBuffer, step: int) -> tuple[Floats, Floats, Floats, Floats]:
    """World x, y, z and depth of every step-th pixel, [H', W'] each."""
    camera = buffer.camera
    depth = np.minimum(buffer.depth[::step, ::step], np.float32(1e4))
    ray_x, ray_y = camera.ray_x[:, ::step], camera.ray_y[::step]
    axes = camera.axes.astype(np.float32)
    x, y, z = (camera.position[i] + depth * (axes[0, i] * ray_x + axes[1, i] * ray_y + axes[2, i]) for i in range(3))
    return x, y, z, depth


def _night(
    style: SceneStyle,
    buffer: GeometryBuffer,
    reflected: Radiance,
    lamps: Floats,
    rng: np.random.Generator,
    of_world: np.random.Generator,
) -> NDArray[np.uint8]:
    camera = buffer.camera
    height, width = shape = (camera.height_px, camera.width_px)
    x, y, z, depth = _world_positions(buffer, 2)
    street = np.zeros_like(depth)
    ahead = lamps[:, 2] - camera.position[2]
    for lamp in lamps[np.argsort(np.abs(ahead - 20.0))[:_MOST_LAMPS]]:
        drop = np.maximum(lamp[1] - y, 0.0)
        squared = np.square(x - lamp[0]) + np.square(z - lamp[2]) + np.square(drop) + 1.0
        street += drop / (squared * np.sqrt(squared)) * np.float32(38.0)
    beam = headlight_beam(depth, camera.ray_x[:, ::2], camera.ray_y[::2], camera.position[1], camera.pitch)
    moon = of_world.uniform(0.012, 0.05)
    warm, own = of_world.uniform(0.25, 0.7), np.float32(of_world.uniform(0.45, 0.9))
    tint = (1.0, 0.72 + 0.1 * warm, 0.35 + 0.45 * warm)
    beam_tint = (1.0, 0.96, 0.86)
    colour = reflected.colour
    sky = np.flatnonzero(buffer.material == Material.SKY)
    glow = np.array([0.020, 0.021, 0.030], np.float32) * np.float32(of_world.uniform(0.4, 2.2))
    for channel in range(3):
        small = (
            moon * (0.7, 0.8, 1.2)[channel]
            + street * np.float32(tint[channel] * 0.75)
            + beam * (own * np.float32(beam_tint[channel]))
        )
        colour[channel] *= cv2.resize(small, (width, height)).ravel()
        colour[channel, sky] = glow[channel]
        colour[channel] += reflected.window_lit * np.float32((0.55, 0.42, 0.22)[channel])
    _add_emission(buffer, colour, np.asarray(cv2.resize(beam, (width, height)), np.float32).ravel())
    light = add_bloom(cv2.merge([plane.reshape(shape) for plane in colour]))
    exposed = replace(style, exposure=float(of_world.uniform(0.5, 1.0)), contrast=1.05)
    dark = develop(exposed, np.ascontiguousarray(light.reshape(-1, 3).T), shape)
    return add_sensor_noise(dark, rng, shot=float(of_world.uniform(0.2, 0.9)), read=float(of_world.uniform(1.5, 4.0)))


def _add_emission(buffer: GeometryBuffer, colour: Floats, beam: Floats) -> None:
    """Lamps, signals and what throws headlights back."""
    emission = np.ascontiguousarray(buffer.faces["emission"]).take(buffer.face_ids.ravel())
    at = np.flatnonzero(emission)
    if not len(at):
        return
    kind, ids = emission.take(at), buffer.face_ids.ravel().take(at)
    strength = np.zeros((len(Emission), 3), np.float32)
    strength[Emission.HEADLIGHT] = (2.6, 2.5, 2.2)
    strength[Emission.TAIL_LIGHT] = (1.5, 0.04, 0.03)
    strength[Emission.STREET_LAMP] = (3.2, 2.4, 1.3)
    for channel in range(3):
        own = buffer.faces["colour"][:, channel].take(ids)
        added = strength[:, channel].take(kind)
        added += own * (kind == Emission.SIGNAL) * 2.2
        added += own * (kind == Emission.RETROREFLECTIVE) * (0.15 + 3.0 * beam.take(at))
        colour[channel, at] += added


def _mirror(style: SceneStyle, buffer: GeometryBuffer, ground: GroundSurface, colour: Floats, amount: float) -> None:
    """A wet ground's reflection: in each column, what stands on the ground, upside down below where it stands."""
    height, width = buffer.face_ids.shape
    is_ground = buffer.material.reshape(height, width) == Material.GROUND
    rows = np.arange(height, dtype=np.int32)[:, None]
    foot = np.maximum.accumulate(np.where(is_ground, np.int32(0), rows), axis=0)
    source = np.maximum(2 * foot - rows, 0)
    pixels = ground.pixels
    at = source.ravel().take(pixels).astype(np.intp) * width + pixels % width
    wet = sample(cloudy_noise(), ground.lateral * 22, ground.ahead * 5)
    depth = buffer.depth.ravel().take(pixels)
    grazing = np.clip(0.2 + depth * 0.022, 0, 0.75)
    puddles = np.clip((wet - 0.72 + 0.25 * amount) * 4, 0, 1)
    weight = (
        amount
        * grazing
        * (0.45 + 0.55 * puddles)
        * np.where(ground.labels == ROAD, 1.0, np.where(ground.labels == SIDEWALK, 0.55, 0.1))
    )
    weight = weight.astype(np.float32)
    for channel in range(3):
        plane = colour[channel].reshape(height, width)
        smeared = cv2.blur(plane, (1, max(3, height // 40) | 1)).ravel().take(at)
        seen = colour[channel].take(pixels)
        colour[channel, pixels] = seen * (1 - weight) + smeared * weight


def _under_snow(style: SceneStyle, buffer: GeometryBuffer, ground: GroundSurface) -> tuple[GeometryBuffer, GroundSurface]:
    faces = buffer.faces.copy()
    lying = np.where(buffer.normals[:, 1] > 0.55, 0.88, 0.0)
    lying[faces["material"] == Material.FOLIAGE] = 0.3 + 0.3 * ((style.seed % 7) / 6)
    cover = lying.astype(np.float32)[:, None]
    faces["colour"] = faces["colour"] * (1 - cover) + np.array([0.8, 0.82, 0.85], np.float32) * cover
    patches = sample(cloudy_noise(), ground.lateral * 12.5, ground.ahead * 6.25)
    depth_of_snow = 0.35 + 0.6 * ((style.seed * 7 % 11) / 10)
    in_lane = np.abs(
        np.abs(ground.lateral / np.float32(style.lane_width) - np.floor(ground.lateral / np.float32(style.lane_width)) - 0.5)
        - 0.23
    )
    track = np.clip((0.13 - in_lane) * 14, 0, 1) * (np.abs(ground.lateral) < style.road_half_width)
    road = np.clip((patches - 0.75 + depth_of_snow) * 2.2, 0, 0.92) * (1 - 0.85 * track)
    trodden = np.clip((patches + 0.35) * 1.4, 0.3, 0.95)
    share = np.select(
        [ground.labels == ROAD, ground.labels == SIDEWALK], [road, trodden], np.clip(patches + 0.6, 0.75, 1.0)
    ).astype(np.float32)
    grain = (0.76 + 0.12 * patches).astype(np.float32)
    slush = np.where(ground.labels == ROAD, np.float32(0.82), np.float32(1.0)) * grain
    albedo = np.stack(
        [ground.albedo[i] * (1 - share) * 0.8 + slush * np.float32((0.96, 0.98, 1.02)[i]) * share for i in range(3)]
    )
    return buffer._replace(faces=faces), ground._replace(albedo=albedo.astype(np.float32))
