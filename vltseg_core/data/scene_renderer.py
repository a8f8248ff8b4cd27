# SPDX-License-Identifier: Apache-2.0
"""The rasteriser: faces drawn far to near as numbers, then depth and texture coordinates of each pixel's face.

A flat face's inverse depth is linear over the picture, so depth is exact: 1/z = n . ray / d, with n the face's normal
and d its distance from the camera (pinhole model). The ground is face 0, the sky face 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import FACE, Faces, Material, gather
from vltseg_core.data.scene_noise import SILHOUETTE_SIZE, Floats, silhouettes

NEAR_PLANE = 0.35
_SUBPIXEL_BITS = 4
_SMALLEST_DRAWN_PX = 1.2
_SMALLEST_CUT_OUT_PX = 9.0
_SHADOW_REACH = 80.0
_ROAD, _SKY = 0, 10


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without roll; yaw to the right, pitch downwards, radians; position in metres."""

    height_px: int
    width_px: int
    focal_px: float
    position: tuple[float, float, float]
    yaw: float
    pitch: float

    @property
    def centre_px(self) -> tuple[float, float]:
        """The principal point (x, y): the picture's middle; pixel (0, 0) has its middle at (0, 0)."""
        return (self.width_px - 1) / 2, (self.height_px - 1) / 2

    @cached_property
    def axes(self) -> NDArray[np.float64]:
        """World directions of the camera's right, down and forward axes, [3, 3] by row."""
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[cy, 0.0, -sy], [-sy * sp, -cp, -cy * sp], [sy * cp, -sp, cy * cp]])

    @cached_property
    def ray_x(self) -> Floats:
        """Horizontal ray component by column, [1, W], at forward component 1."""
        return ((np.arange(self.width_px) - self.centre_px[0]) / self.focal_px).astype(np.float32)[None]

    @cached_property
    def ray_y(self) -> Floats:
        """Vertical (downward) ray component by row, [H, 1], at forward component 1."""
        return ((np.arange(self.height_px) - self.centre_px[1]) / self.focal_px).astype(np.float32)[:, None]

    def to_camera(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """World points [..., 3] as right, down, forward metres [..., 3]."""
        relative = points - np.asarray(self.position, np.float32)
        return np.asarray(relative @ self.axes.T.astype(np.float32), np.float32)

    def to_pixels(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Camera points [..., 3] before the camera as pixels [..., 2] (x, y)."""
        return np.asarray(points[..., :2] / points[..., 2:] * self.focal_px + np.asarray(self.centre_px), np.float32)


class GeometryBuffer(NamedTuple):
    """What is seen at each pixel."""

    camera: Camera
    faces: Faces
    normals: Floats  # [F, 3] world, towards the camera
    face_ids: NDArray[np.int32]  # [H, W]
    material: NDArray[np.uint8]  # [H * W]
    labels: NDArray[np.uint8]  # [H, W]
    depth: Floats  # [H, W] metres along the optical axis, inf for sky
    u: Floats  # [H, W] metres along the face's first edge; for the ground world x
    v: Floats  # [H, W] metres across it; for the ground world z
    shadow: Floats  # [H, W] 0 lit .. 1 in shadow, on the ground only


def _ground_and_sky() -> Faces:
    faces = np.zeros(2, FACE)
    faces["label"] = (_ROAD, _SKY)
    faces["material"] = (Material.GROUND, Material.SKY)
    faces["silhouette"] = -1
    return faces


def render_geometry(
    camera: Camera, faces: Faces, casters: Floats, sun_direction: tuple[float, float, float], shade: float
) -> GeometryBuffer:
    """Draw faces (world coordinates near the camera) and shadows of casters; `shade` is how dark these are, 0..1."""
    faces = gather([_ground_and_sky(), faces])
    in_camera = camera.to_camera(faces["vertices"])
    normals, offsets = _planes(camera, faces)
    order = _visible_order(camera, faces, in_camera, offsets)
    sky_rows = camera.ray_y * np.cos(camera.pitch) + np.sin(camera.pitch) <= 1e-4
    face_ids = np.zeros((camera.height_px, camera.width_px), np.int32)
    face_ids[sky_rows[:, 0]] = 1
    _draw(face_ids, camera, faces, in_camera, order)
    depth, u, v = _surface_coordinates(camera, faces, normals, offsets, face_ids)
    ids = face_ids.ravel().astype(np.intp)
    labels = np.ascontiguousarray(faces["label"]).take(ids, mode="clip").reshape(face_ids.shape)
    material = np.ascontiguousarray(faces["material"]).take(ids, mode="clip")
    depth[face_ids == 1] = np.inf
    shadow = _shadow_mask(camera, casters, sun_direction, shade)
    facing = np.where((offsets > 0)[:, None], -normals, normals)
    return GeometryBuffer(camera, faces, facing, face_ids, material, labels, depth, u, v, shadow)


def _planes(camera: Camera, faces: Faces) -> tuple[Floats, Floats]:
    """Unit normals [F, 3] and signed distances [F] of the planes from the camera: negative where the front is seen."""
    vertices = faces["vertices"]
    first, second = vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 1]
    normals = np.stack(
        [
            first[:, 1] * second[:, 2] - first[:, 2] * second[:, 1],
            first[:, 2] * second[:, 0] - first[:, 0] * second[:, 2],
            first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0],
        ],
        1,
    )
    normals[0] = (0.0, 1.0, 0.0)
    normals /= np.maximum(np.sqrt(np.square(normals).sum(1, keepdims=True)), 1e-9)
    offsets = np.einsum("fc,fc->f", normals, vertices[:, 0] - np.asarray(camera.position, np.float32))
    return normals, np.asarray(offsets, np.float32)


def _visible_order(camera: Camera, faces: Faces, in_camera: Floats, offsets: Floats) -> NDArray[np.intp]:
    """Numbers of the faces worth drawing, far to near."""
    x, y, z = np.ascontiguousarray(in_camera.T)  # [8, F] each: numpy reduces the first axis fast
    nearest = np.maximum(z, NEAR_PLANE)
    x /= nearest
    y /= nearest
    (cx, cy), f = camera.centre_px, camera.focal_px
    low_x, high_x, low_y, high_y = x.min(0) * f + cx, x.max(0) * f + cx, y.min(0) * f + cy, y.max(0) * f + cy
    seen = (z.max(0) > NEAR_PLANE) & (low_x < camera.width_px) & (high_x > 0) & (low_y < camera.height_px) & (high_y > 0)
    seen &= np.maximum(high_x - low_x, high_y - low_y) > _SMALLEST_DRAWN_PX
    # Limbs are pairs of crossed strips: the one seen edge on is left out.
    edge_on = np.where(faces["material"] == Material.CLOTH, np.float32(0.5) * z[0], np.float32(1e-3))
    seen &= np.where(faces["two_sided"], np.abs(offsets) > edge_on, offsets < -1e-3)
    seen[:2] = False
    numbers = np.flatnonzero(seen)
    far_to_near = np.lexsort((faces["order"][numbers], -faces["sort_key"][numbers]))
    return np.asarray(numbers[far_to_near], np.intp)


def _draw(face_ids: NDArray[np.int32], camera: Camera, faces: Faces, in_camera: Floats, order: NDArray[np.intp]) -> None:
    scale = 1 << _SUBPIXEL_BITS
    chosen = in_camera[order]
    crosses: list[bool] = np.any(chosen[..., 2] < NEAR_PLANE, axis=1).tolist()
    pixels = np.rint(camera.to_pixels(np.where(chosen[..., 2:] < NEAR_PLANE, NEAR_PLANE, chosen)) * scale).astype(np.int32)
    cut_outs: list[int] = faces["silhouette"][order].tolist()
    low: list[list[float]] = (pixels[:, :4].min(axis=1) / scale).tolist()
    high: list[list[float]] = (pixels[:, :4].max(axis=1) / scale).tolist()
    turned: list[bool] = (pixels[:, 0, 0] > pixels[:, 1, 0]).tolist()
    for i, number in enumerate(order.tolist()):
        if cut_outs[i] >= 0:
            if not crosses[i]:
                _draw_cut_out(face_ids, low[i], high[i], number, cut_outs[i], turned[i])
            continue
        points = pixels[i]
        if crosses[i]:
            clipped = _clip_near(chosen[i])
            if len(clipped) < 3:
                continue
            points = np.rint(camera.to_pixels(clipped) * scale).astype(np.int32)
        cv2.fillConvexPoly(face_ids, points, number, cv2.LINE_8, _SUBPIXEL_BITS)


_ROUND = np.stack([np.cos(np.arange(7) * 2 * np.pi / 7), np.sin(np.arange(7) * 2 * np.pi / 7)], 1) * 0.42 + 0.5


def _draw_cut_out(
    face_ids: NDArray[np.int32], low: list[float], high: list[float], number: int, silhouette: int, turned: bool
) -> None:
    """Draw a silhouette over the upright rectangle between two corners (x, y); a plain blob where it is tiny."""
    (left, top), (right, bottom) = low, high
    if bottom - top < _SMALLEST_CUT_OUT_PX:
        blob = np.rint(_ROUND * ((right - left) * 16, (bottom - top) * 16) + (left * 16, top * 16)).astype(np.int32)
        cv2.fillConvexPoly(face_ids, blob, number, cv2.LINE_8, 4)
        return
    height, width = face_ids.shape
    x0, x1, y0, y1 = max(0, int(left)), min(width, int(right) + 1), max(0, int(top)), min(height, int(bottom) + 1)
    if x1 <= x0 or y1 <= y0:
        return
    mask = silhouettes()[silhouette]
    if turned:
        mask = mask[:, ::-1]
    step_x, step_y = SILHOUETTE_SIZE / max(right - left, 1.0), SILHOUETTE_SIZE / (bottom - top)
    first_x = min(max(0, int((x0 - left) * step_x)), SILHOUETTE_SIZE - 1)
    first_y = min(max(0, int((y0 - top) * step_y)), SILHOUETTE_SIZE - 1)
    last_x, last_y = max(first_x + 1, int((x1 - left) * step_x + 1)), max(first_y + 1, int((y1 - top) * step_y + 1))
    part = cv2.resize(mask[first_y:last_y, first_x:last_x], (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
    np.copyto(face_ids[y0:y1, x0:x1], number, where=part.view(np.bool_))


def _clip_near(corners: Floats) -> Floats:
    """The part of a polygon (camera coordinates) before the near plane."""
    kept: list[Floats] = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=False):
        if a[2] >= NEAR_PLANE:
            kept.append(a)
        if (a[2] >= NEAR_PLANE) != (b[2] >= NEAR_PLANE):
            kept.append(a + (b - a) * np.float32((NEAR_PLANE - a[2]) / (b[2] - a[2])))
    return np.asarray(kept, np.float32).reshape(-1, 3)


def _surface_coordinates(
    camera: Camera, faces: Faces, normals: Floats, offsets: Floats, face_ids: NDArray[np.int32]
) -> tuple[Floats, Floats, Floats]:
    """Depth and texture coordinates [H, W] each, from each pixel's face."""
    axes = camera.axes.astype(np.float32)
    position = np.asarray(camera.position, np.float32)
    vertices = faces["vertices"]
    along = vertices[:, 1] - vertices[:, 0]
    along /= np.maximum(np.sqrt(np.square(along).sum(1, keepdims=True)), 1e-9)
    across = np.stack(
        [
            normals[:, 1] * along[:, 2] - normals[:, 2] * along[:, 1],
            normals[:, 2] * along[:, 0] - normals[:, 0] * along[:, 2],
            normals[:, 0] * along[:, 1] - normals[:, 1] * along[:, 0],
        ],
        1,
    )
    origin = vertices[:, 0].copy()
    along[0], across[0], origin[0] = (1, 0, 0), (0, 0, 1), (0, 0, 0)
    safe = np.where(np.abs(offsets) < 1e-6, np.float32(1e-6), offsets)
    inverse_depth = (normals @ axes.T / safe[:, None]).astype(np.float32)
    inverse_depth[1] = 0.0
    along_rays, across_rays = (along @ axes.T).astype(np.float32), (across @ axes.T).astype(np.float32)
    along_start, across_start = ((position - origin) * along).sum(1), ((position - origin) * across).sum(1)
    shape = face_ids.shape
    ids = face_ids.ravel().astype(np.intp)

    def over_picture(coefficients: Floats) -> Floats:
        x_part, y_part, constant = (
            np.ascontiguousarray(column).take(ids, mode="clip").reshape(shape) for column in coefficients.T
        )
        x_part *= camera.ray_x
        y_part *= camera.ray_y
        x_part += y_part
        x_part += constant
        return x_part

    depth = over_picture(inverse_depth)
    np.maximum(depth, 1e-5, out=depth)
    np.reciprocal(depth, out=depth)
    u, v = over_picture(along_rays), over_picture(across_rays)
    u *= depth
    u += along_start.take(ids, mode="clip").reshape(shape)
    v *= depth
    v += across_start.take(ids, mode="clip").reshape(shape)
    return depth, u, v


def _shadow_mask(camera: Camera, casters: Floats, sun_direction: tuple[float, float, float], shade: float) -> Floats:
    """Shadows on the ground: hulls of each caster's footprint and its top's shadow, and a dark patch under it."""
    mask = np.zeros((camera.height_px, camera.width_px), np.uint8)
    if not len(casters):
        return mask.astype(np.float32)
    x, z, half_width, half_length, yaw, low, high = casters.T
    c, s = np.cos(yaw), np.sin(yaw)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    across, ahead = corners[:, 0] * half_width[:, None], corners[:, 1] * half_length[:, None]
    foot = np.stack(
        [x[:, None] + across * c[:, None] + ahead * s[:, None], z[:, None] + ahead * c[:, None] - across * s[:, None]],
        -1,
    )
    away = -np.array([sun_direction[0], sun_direction[2]], np.float32) / max(sun_direction[1], 0.25)
    outlines = np.concatenate([foot + away * low[:, None, None], foot + away * high[:, None, None]], 1)
    for polygons, darkness in ((outlines, round(255 * shade)), (foot[low < 0.1], round(255 * max(0.6, shade * 0.9)))):
        if darkness:
            _fill_ground(mask, camera, polygons, darkness)
    return cv2.blur(mask, (3, 3)).astype(np.float32) * np.float32(1 / 255)


def _fill_ground(mask: NDArray[np.uint8], camera: Camera, polygons: Floats, darkness: int) -> None:
    flat = np.zeros((*polygons.shape[:2], 3), np.float32)
    flat[..., 0], flat[..., 2] = polygons[..., 0], polygons[..., 1]
    in_camera = camera.to_camera(flat)
    z = in_camera[..., 2]
    side = in_camera[..., 0] * np.float32(camera.focal_px) / np.maximum(z, NEAR_PLANE)
    half_view = camera.width_px / 2
    seen = (z.max(1) > NEAR_PLANE) & (z.min(1) < _SHADOW_REACH) & (side.min(1) < half_view) & (side.max(1) > -half_view)
    for points in in_camera[seen]:
        if (points[:, 2] < NEAR_PLANE).any():
            hull = cv2.convexHull(np.ascontiguousarray(points[:, [0, 2]]), returnPoints=False)[:, 0]
            points = _clip_near(points[hull])
            if len(points) < 3:
                continue
        pixels = np.rint(camera.to_pixels(points) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(pixels), darkness, cv2.LINE_8, _SUBPIXEL_BITS)
