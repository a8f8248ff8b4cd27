# SPDX-License-Identifier: Apache-2.0
"""Weather on pictures: fog, night, rain and snow from an image, its depth where known, and a random generator.

Fog is Koschmieder's law, I = J t + A (1 - t) with t = exp(-beta z) and beta = 3.912 / visibility (Koschmieder 1924; the
visibility at which contrast falls to 2 %), as in Sakaridis et al., "Semantic foggy scene understanding with synthetic
data", 2018, section 3.
"""

from __future__ import annotations

import difflib

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.night_lights import Lamp, glare, lamps_of_a_street, light_on_surfaces
from vltseg_core.data.scene_noise import cloudy_noise, sample
from vltseg_core.errors import ConfigurationError, InputError

Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

WEATHER_CONDITIONS: tuple[str, ...] = ("clear", "night", "fog", "rain", "snow")
"""What simulate_weather can do."""

_FOG_VISIBILITY_M = (400.0, 220.0, 130.0, 80.0, 45.0)
_NIGHT_AMBIENT = (0.12, 0.06, 0.03, 0.015, 0.007)
_NIGHT_BRIGHTNESS = (0.30, 0.25, 0.20, 0.16, 0.12)
_RAIN_AMOUNT = (0.25, 0.45, 0.65, 0.85, 1.0)
_SNOW_AMOUNT = (0.25, 0.45, 0.65, 0.85, 1.0)


def simulate_weather(
    image: Image, condition: str, *, severity: int = 3, rng: np.random.Generator, depth_m: Depth | None = None
) -> Image:
    """A picture of any data set as it might look in other weather.

    Args:
        image: uint8 [H, W, 3] RGB.
        condition: one of WEATHER_CONDITIONS; "clear" gives a copy.
        severity: 1 (light) to 5 (heavy).
        rng: where the randomness comes from; the same state gives the same picture.
        depth_m: float32 [H, W] metres, inf for sky. Without it a plausible road scene is assumed, see road_scene_depth.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        ConfigurationError: an unknown condition or a severity outside 1..5.
        InputError: an image or a depth of another shape or type.
    """
    check_weather(condition, severity)
    _check_arrays(image, depth_m)
    if condition == "clear":
        return image.copy()
    depth = road_scene_depth(image) if depth_m is None else depth_m
    if condition == "fog":
        visibility = _FOG_VISIBILITY_M[severity - 1] * rng.uniform(0.85, 1.2)
        return koschmieder_fog(image, depth, visibility_m=visibility, airlight=fog_airlight(rng))
    if condition == "night":
        return _night(image, depth, severity, rng)
    if condition == "rain":
        return _rain(image, depth, _RAIN_AMOUNT[severity - 1], rng)
    return _snow(image, depth, _SNOW_AMOUNT[severity - 1], rng)


def check_weather(condition: str, severity: int) -> None:
    """ConfigurationError where there is no such weather."""
    if condition not in WEATHER_CONDITIONS:
        nearest = difflib.get_close_matches(str(condition), WEATHER_CONDITIONS, n=1, cutoff=0.0)[0]
        raise ConfigurationError(
            f"condition {condition!r} is not one of {', '.join(WEATHER_CONDITIONS)}: did you mean {nearest!r}?"
        )
    if severity not in (1, 2, 3, 4, 5):
        raise ConfigurationError(f"severity {severity!r} is not a whole number from 1 to 5: pass 3 for medium weather")


def _check_arrays(image: Image, depth_m: Depth | None) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"image has shape {image.shape} and type {image.dtype}, expected uint8 [H, W, 3] RGB: convert it first")
    if depth_m is not None and depth_m.shape != image.shape[:2]:
        raise InputError(f"depth_m has shape {depth_m.shape}, the image {image.shape[:2]}: pass metres for every pixel, or None")


def road_scene_depth(image: Image) -> Depth:
    """A plausible depth of a road scene, float32 [H, W] metres: flat ground under a horizon at 45 % of the height, seen
    from 1.5 m; above it the walls of a street 9 m to either side, and infinity where it is bright: the sky."""
    height, width = image.shape[:2]
    ray_x, ray_y = _rays(height, width)
    ground = 1.5 / np.maximum(ray_y, 1e-3)
    walls = np.clip(9.0 / np.maximum(np.abs(ray_x), 1e-3), 8.0, 90.0)
    depth = np.where(ray_y > 0, np.minimum(ground, np.maximum(walls, 12.0)), walls).astype(np.float32)
    brightness = _brightest(np.asarray(cv2.max(image, cv2.blur(image, (5, 5))), np.uint8))
    above = ray_y[:, 0] < -0.01
    if above.any():
        threshold = max(130.0, 0.78 * float(np.percentile(brightness[above][::4, ::4], 95)))
        depth[(brightness > threshold) & above[:, None]] = np.inf
    return depth


def _brightest(image: Image) -> NDArray[np.uint8]:
    """The largest channel, [H, W]."""
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8).reshape(image.shape[:2])


def koschmieder_fog(image: Image, depth_m: Depth, *, visibility_m: float, airlight: tuple[float, float, float]) -> Image:
    """Fog by Koschmieder's law, rounded to 8 bits; `airlight` is its colour, 0..255 RGB, which the sky takes."""
    transmission = np.exp(depth_m * np.float32(-3.912 / visibility_m))
    planes = []
    for channel in range(3):
        plane = image[..., channel] - np.float32(airlight[channel])
        plane *= transmission
        planes.append(cv2.convertScaleAbs(plane, beta=float(airlight[channel])))
    return np.asarray(cv2.merge(planes), np.uint8)


def fog_airlight(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour of fog by day: light grey, slightly blue."""
    grey = rng.uniform(165, 225)
    return (grey, grey + rng.uniform(0, 4), grey + rng.uniform(1, 9))


def headlight_beam(depth_m: Depth, ray_x: Depth, ray_y: Depth, camera_height_m: float, pitch: float) -> Depth:
    """Light of the own car's dipped headlights, [H, W], about 1 on the road 10 m ahead: wide, flat, cut off above.

    `ray_x` [1, W] and `ray_y` [H, 1] are the rays' parts to the right and downwards at forward component 1;
    `pitch` in radians downwards.
    """
    down = ray_y * np.float32(np.cos(pitch)) + np.float32(np.sin(pitch))
    below_lamp = down + np.float32(0.65 - camera_height_m) / np.maximum(depth_m, 1.0)
    beam = 1.0 / (1.0 + np.exp(np.clip((0.006 - below_lamp) * 130.0, -30.0, 30.0)))
    spread = np.exp(-np.square(ray_x * np.float32(2.1))) + 0.8 * np.exp(-np.square((ray_x - 0.06) * np.float32(5.5)))
    return np.asarray((0.04 + beam) * spread * (150.0 / (70.0 + np.square(np.minimum(depth_m, 1e4)))), np.float32)


def add_bloom(light: NDArray[np.float32], strength: float = 0.35) -> NDArray[np.float32]:
    """Light [H, W, 3] with the glow of what is brighter than white."""
    height, width = light.shape[:2]
    small_size = (max(1, width // 4), max(1, height // 4))
    bright = np.clip(np.asarray(cv2.resize(light, small_size, interpolation=cv2.INTER_AREA)) - 0.75, 0.0, 4.0)
    near, wide = (cv2.GaussianBlur(bright, (0, 0), max(0.6, width / spread)) for spread in (200, 70))
    glow = cv2.resize(np.asarray(near + 0.5 * wide, np.float32), (width, height)).reshape(light.shape)
    return np.asarray(cv2.addWeighted(light, 1.0, np.asarray(glow, np.float32), strength, 0.0), np.float32)


def add_sensor_noise(image: Image, rng: np.random.Generator, *, shot: float, read: float) -> Image:
    """Noise of a sensor at high gain: variance shot * value + read^2, in 8-bit units, independent by channel."""
    height, width = image.shape[:2]
    by_value = np.sqrt(np.arange(256, dtype=np.float32) * np.float32(shot) + np.float32(read * read))
    noise = rng.standard_normal((height, width, 3), np.float32)
    noise *= by_value.take(image)
    noise += image
    return np.asarray(np.clip(noise, 0, 255), np.uint8)


def add_rain_streaks(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Falling rain, blurred by its motion: thin faint streaks far away, longer and broader ones near."""
    height, width = image.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    slant = rng.uniform(-0.25, 0.25)
    number = int(420 * amount * np.sqrt(height * width / 172800)) + 4
    x, y = rng.uniform(-0.1, 1.1, number) * width, rng.uniform(-0.1, 1.0, number) * height
    length = height * (0.012 + 0.07 * rng.random(number) ** 3) * (0.5 + 0.5 * amount)
    tone = rng.integers(20, 85, number)
    for x0, y0, long, grey in zip(x.tolist(), y.tolist(), length.tolist(), tone.tolist(), strict=True):
        end = (round((x0 + slant * long) * 8), round((y0 + long) * 8))
        cv2.line(layer, (round(x0 * 8), round(y0 * 8)), end, grey, 2 if long > 0.06 * height else 1, cv2.LINE_AA, 3)
    soft = cv2.GaussianBlur(layer, (3, 3), 0.6)
    alpha = cv2.merge([soft, soft, soft])
    return np.asarray(cv2.add(image, cv2.multiply(cv2.bitwise_not(image), alpha, scale=0.75 / 255)), np.uint8)


def add_lens_drops(image: Image, rng: np.random.Generator, number: int) -> Image:
    """Drops on the lens: each shows the scene upside down, small and blurred."""
    height, width = image.shape[:2]
    wet = image.copy()
    blurred = cv2.GaussianBlur(image, (0, 0), max(0.8, width / 160))
    for _ in range(number):
        radius = float(rng.uniform(0.006, 0.028) * np.sqrt(height * width))
        cx, cy = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        x0, x1, y0, y1 = (
            int(max(0, cx - radius)),
            int(min(width, cx + radius + 1)),
            int(max(0, cy - radius)),
            int(min(height, cy + radius * 1.2 + 1)),
        )
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        dx = (np.arange(x0, x1, dtype=np.float32) - cx)[None] / radius
        dy = (np.arange(y0, y1, dtype=np.float32) - cy)[:, None] / (radius * 1.15)
        distance = np.sqrt(dx * dx + dy * dy)
        bend = 2.5 + 2.5 * distance
        source_x = np.clip(cx - dx * radius * bend, 0, width - 1).astype(np.float32)
        source_y = np.clip(cy - dy * radius * bend, 0, height - 1).astype(np.float32)
        seen = cv2.remap(blurred, source_x, source_y, cv2.INTER_LINEAR).astype(np.float32)
        alpha = np.clip((1.0 - distance) * 2.5, 0.0, 0.85)[..., None]
        rim = np.clip(1.0 - 0.35 * distance * (dy + 0.4), 0.5, 1.15)[..., None]
        region = wet[y0:y1, x0:x1]
        wet[y0:y1, x0:x1] = np.clip(region * (1 - alpha) + seen * rim * alpha, 0, 255).astype(np.uint8)
    return wet


def add_snow_flakes(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Falling flakes: many small ones far away, a few large and blurred ones near the lens."""
    height, width = image.shape[:2]
    scale = np.sqrt(height * width / 172800)
    layer = np.zeros((height, width), np.uint8)
    slant = rng.uniform(-0.6, 0.6)
    number = int(900 * amount)
    distance = rng.uniform(0.12, 1.0, number) ** 0.5
    radius = np.clip(0.55 * scale / distance, 0.4, 5.0 * scale)
    x, y = rng.uniform(0, width, number), rng.uniform(0, height, number)
    tone = (90 + 140 * rng.random(number)).astype(int)
    for x0, y0, r, grey in zip(x.tolist(), y.tolist(), radius.tolist(), tone.tolist(), strict=True):
        end = (round((x0 + slant * r * 1.5) * 8), round((y0 + r * 1.5) * 8))
        cv2.line(layer, (round(x0 * 8), round(y0 * 8)), end, grey, max(1, round(1.6 * r)), cv2.LINE_AA, 3)
    near = np.zeros((max(1, height // 2), max(1, width // 2)), np.uint8)
    for _ in range(int(14 * amount)):
        centre = (int(rng.uniform(0, near.shape[1])), int(rng.uniform(0, near.shape[0])))
        cv2.circle(near, centre, max(1, int(rng.uniform(2, 5) * scale)), int(rng.uniform(90, 170)), -1)
    near_flakes = cv2.resize(cv2.GaussianBlur(near, (0, 0), max(0.6, 1.6 * scale)), (width, height))
    flakes = cv2.max(cv2.GaussianBlur(layer, (3, 3), 0.5), near_flakes)
    alpha = cv2.merge([flakes, flakes, flakes])
    to_white = cv2.subtract(np.full_like(image, 245), image)
    return np.asarray(cv2.add(image, cv2.multiply(to_white, alpha, scale=1.0 / 255)), np.uint8)


def _rays(height: int, width: int) -> tuple[Depth, Depth]:
    focal = np.sqrt(height * width)
    across = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal
    down = (np.arange(height, dtype=np.float32) - 0.45 * height) / focal
    return across[None].astype(np.float32), down[:, None].astype(np.float32)


def _night(image: Image, depth: Depth, severity: int, rng: np.random.Generator) -> Image:
    """Headlights, street lamps, other cars and a little sky; then exposed and noisy as a camera's picture is."""
    height, width = image.shape[:2]
    ambient = _NIGHT_AMBIENT[severity - 1] * rng.uniform(0.6, 1.25)
    lamps = lamps_of_a_street(rng)
    sky = np.isinf(depth)
    brightest = np.where(sky, np.float32(0.0), _brightest(image) * np.float32(1 / 255))
    own = 1.5 * np.square(np.maximum(np.square(brightest) - np.float32(0.8), 0.0))  # what is white by day: lit signs, windows
    falling = _street_light(lamps, depth, rng.uniform(0.3, 1.2))
    falling += np.where(sky, np.float32(0.25 * ambient), np.float32(ambient))[..., None] * np.array(
        (0.75, 0.85, rng.uniform(0.95, 1.5)), np.float32
    )
    light = np.square(image * np.float32(1 / 255)) * (falling + own[..., None])
    light = add_bloom(light + glare(lamps, depth, float(np.sqrt(height * width)), 0.45 * height), rng.uniform(0.2, 0.6))
    return _exposed(light, _NIGHT_BRIGHTNESS[severity - 1] * rng.uniform(0.75, 1.3), rng)


def _street_light(lamps: list[Lamp], depth: Depth, headlights: float) -> NDArray[np.float32]:
    """Of the own headlights and the street's lamps on what is seen, [H, W, 3]; computed at half the size."""
    height, width = depth.shape
    half = (max(1, width // 2), max(1, height // 2))
    coarse = np.asarray(cv2.resize(depth, half, interpolation=cv2.INTER_NEAREST), np.float32).reshape(half[::-1])
    ray_x, ray_y = _rays(half[1], half[0])
    beam = headlights * headlight_beam(coarse, ray_x, ray_y, 1.5, 0.0)
    light = beam[..., None] * np.array((0.5, 0.47, 0.4), np.float32) + light_on_surfaces(lamps, coarse, ray_x, ray_y)
    return np.asarray(cv2.resize(light, (width, height)), np.float32).reshape(height, width, 3)


def _exposed(light: NDArray[np.float32], brightness: float, rng: np.random.Generator) -> Image:
    """Light [H, W, 3] as a camera shows it that wants a mean of `brightness`, 1 for white, and does not quite get it."""
    small = light[::4, ::4]
    gain = np.float32(np.clip((brightness / max(float(np.sqrt(np.minimum(small, 1.0)).mean()), 1e-3)) ** 2, 0.4, 8.0))
    tint = rng.uniform((0.85, 0.88, 0.75), (1.2, 1.08, 1.2)).astype(np.float32)
    bright = np.minimum(light * (gain * tint), 1.0)
    dark = np.asarray(cv2.convertScaleAbs(np.sqrt(bright, out=bright), alpha=255.0), np.uint8)
    if rng.random() < 0.3:  # long exposures blur
        dark = np.asarray(cv2.GaussianBlur(dark, (0, 0), rng.uniform(0.4, 1.1)), np.uint8)
    shot = min(float(gain), 3.0) * rng.uniform(0.15, 0.6)
    return add_sensor_noise(dark, rng, shot=shot, read=rng.uniform(1.0, 4.5))


def _overcast(image: Image, amount: float, brightness: float) -> Image:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    own, of_grey = brightness * (1 - 0.55 * amount), brightness * 0.55 * amount
    return np.asarray(cv2.addWeighted(image, own, grey, of_grey, 8.0 * amount), np.uint8)


def _rain(image: Image, depth: Depth, amount: float, rng: np.random.Generator) -> Image:
    height = image.shape[0]
    dull = _overcast(image, amount, 1.0 - 0.25 * amount)
    dull = koschmieder_fog(dull, depth, visibility_m=2200.0 - 1500.0 * amount, airlight=fog_airlight(rng))
    horizon = int(0.45 * height)
    ground = height - horizon
    above = dull[max(0, horizon - ground) : horizon][::-1]
    if len(above) > 1 and ground > 1:
        mirrored = cv2.blur(cv2.resize(above, (image.shape[1], ground)), (3, max(3, ground // 8)))
        weight = np.float32(0.45 * amount) * np.linspace(1.0, 0.35, ground, dtype=np.float32)[:, None, None]
        near_ground = (depth[horizon:] < 80.0)[..., None]
        part = dull[horizon:]
        dull[horizon:] = np.where(near_ground, part * (0.9 - 0.5 * weight) + mirrored * weight, part).astype(np.uint8)
    return add_lens_drops(add_rain_streaks(dull, rng, amount), rng, int(4 + 26 * amount))


def _snow(image: Image, depth: Depth, amount: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    pale = _overcast(image, amount, 1.0)
    ray_x, ray_y = _rays(height, width)
    distance = np.minimum(depth, 100.0)
    start = rng.uniform(0, 500, 2).astype(np.float32)
    patches = sample(cloudy_noise(), (ray_x * distance + 100.0) * 12.0 + start[0], distance * 8.0 + start[1])
    ground = np.clip(ray_y * 10.0, 0.0, 1.0) * (depth < 80.0)
    high = _brightest(pale).astype(np.float32)
    low = 255.0 - _brightest(np.asarray(cv2.bitwise_not(pale), np.uint8)).astype(np.float32)
    colourless = 1.0 - 0.8 * (high - low) / np.maximum(high, 1.0)
    lying = np.float32(0.9 * amount) * ground * np.clip(patches.reshape(height, width) * 1.5 + amount - 0.6, 0.0, 1.0)
    cover = np.asarray(lying * colourless, np.float32)
    white = (135.0 + 0.45 * high) * cover
    covered = np.asarray(cv2.merge([cv2.convertScaleAbs(pale[..., i] * (1.0 - cover) + white) for i in range(3)]), np.uint8)
    hazy = koschmieder_fog(covered, depth, visibility_m=1200.0 - 1000.0 * amount, airlight=(222.0, 225.0, 230.0))
    return add_snow_flakes(hazy, rng, amount)
