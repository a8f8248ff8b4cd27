# SPDX-License-Identifier: Apache-2.0
"""Drawn driving sequences with exact labels and depth: the embedded example, and a source domain for training.

The scenes are drawn, not recorded: flat faces with procedural textures.
The same seed gives the same world in five conditions.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.demo_conditions import light_of, picture
from vltseg_core.data.scene_backdrop import backdrop
from vltseg_core.data.scene_faces import gather
from vltseg_core.data.scene_ground import GroundSurface, draw_ground
from vltseg_core.data.scene_layout import build_piece
from vltseg_core.data.scene_piece import PIECE_LENGTH, Piece
from vltseg_core.data.scene_placing import set_down
from vltseg_core.data.scene_renderer import Camera, GeometryBuffer, render_geometry
from vltseg_core.data.scene_style import style_for
from vltseg_core.data.scene_traffic import Traffic
from vltseg_core.errors import ConfigurationError

CONDITIONS: tuple[str, ...] = ("clear", "night", "fog", "rain", "snow")
"""The conditions that a sequence can be drawn in."""
_PIECES_AHEAD = 5
_PIECES_KEPT = 12
_SMALLEST_SIDE = 16


class DemoFrame(NamedTuple):
    """One frame of a drawn sequence."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    labels: NDArray[np.uint8]  # [H, W] train ids of vltseg_core.labels.CITYSCAPES
    depth_m: NDArray[np.float32]  # [H, W] metres along the optical axis, inf for sky
    stamp_s: float  # index / frame_rate_hz


class DemoSequence:
    """A drive through one seeded world.

    Args:
        seed: which world; 0 or more.
        condition: one of CONDITIONS. Geometry, labels and depth are the same in all of them.
        image_size: height and width in pixels, at least 16 each.
        frame_rate_hz: frames a second of the drive.

    Raises:
        ConfigurationError: an unknown condition, a size under 16 pixels, a negative seed, or a frame rate of 0 or less.
    """

    def __init__(
        self,
        seed: int,
        *,
        condition: str = "clear",
        image_size: tuple[int, int] = (360, 480),
        frame_rate_hz: float = 15.0,
    ) -> None:
        if condition not in CONDITIONS:
            nearest = difflib.get_close_matches(str(condition), CONDITIONS, n=1, cutoff=0.0)[0]
            raise ConfigurationError(f"condition {condition!r} is not one of {', '.join(CONDITIONS)}: did you mean {nearest!r}?")
        if len(image_size) != 2 or min(image_size) < _SMALLEST_SIDE:
            raise ConfigurationError(
                f"image_size {image_size!r} must be (height, width), at least {_SMALLEST_SIDE} pixels: ask for more"
            )
        if seed < 0:
            raise ConfigurationError(f"seed {seed} is negative: pass 0 or more")
        if not frame_rate_hz > 0:
            raise ConfigurationError(f"frame_rate_hz {frame_rate_hz} is not positive: pass frames a second, such as 15")
        self._style = light_of(style_for(int(seed)), condition)
        self._condition = condition
        self._height, self._width = int(image_size[0]), int(image_size[1])
        self._frame_rate_hz = float(frame_rate_hz)
        self._focal_px = self._style.focal_factor * float(np.sqrt(self._height * self._width))
        self._pieces: OrderedDict[int, Piece] = OrderedDict()
        self._traffic = Traffic(self._style)
        self._backdrop = set_down(backdrop(self._style))

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """The pinhole camera matrix in pixels, [3, 3]; pixel (0, 0) has its middle at (0, 0)."""
        return np.array(
            [
                [self._focal_px, 0.0, (self._width - 1) / 2],
                [0.0, self._focal_px, (self._height - 1) / 2],
                [0.0, 0.0, 1.0],
            ]
        )

    def frame(self, index: int) -> DemoFrame:
        """Frame `index` (0 or more, in any order, without limit); raises ConfigurationError for a negative one."""
        if index < 0:
            raise ConfigurationError(f"frame index {index} is negative: frames count from 0")
        stamp_s = index / self._frame_rate_hz
        buffer, ground, lamps = self.geometry_at(stamp_s)
        image = picture(self._style, self._condition, buffer, ground, lamps, index)
        return DemoFrame(image, buffer.labels, buffer.depth, stamp_s)

    def _piece(self, index: int) -> Piece:
        if index in self._pieces:
            self._pieces.move_to_end(index)
        else:
            self._pieces[index] = build_piece(self._style, index)
            if len(self._pieces) > _PIECES_KEPT:
                self._pieces.popitem(last=False)
        return self._pieces[index]

    def camera_at(self, stamp_s: float) -> tuple[Camera, int]:
        """The camera at a time, with z from the start of the returned piece's number."""
        style = self._style
        travelled = 12.0 + style.speed * stamp_s + 2.0 * np.sin(stamp_s * 0.4 + style.seed)
        base = int(np.floor(travelled / PIECE_LENGTH))
        wobble = 0.18 * np.sin(stamp_s * 0.7 + style.seed) + 0.05 * np.sin(stamp_s * 2.3)
        x = float(style.centre_x(travelled)) + style.ego_lateral + wobble
        yaw = float(np.arctan(style.slope(travelled))) + 0.012 * np.cos(stamp_s * 0.7 + style.seed)
        pitch = style.pitch + 0.0025 * np.sin(stamp_s * 9.1) + 0.0015 * np.sin(stamp_s * 14.7 + 1.0)
        position = (x, style.camera_height, float(travelled - base * PIECE_LENGTH))
        return Camera(self._height, self._width, self._focal_px, position, yaw, pitch), base

    def geometry_at(self, stamp_s: float) -> tuple[GeometryBuffer, GroundSurface, NDArray[np.float32]]:
        camera, base = self.camera_at(stamp_s)
        base_z = base * PIECE_LENGTH
        pieces = [self._piece(base + i) for i in range(_PIECES_AHEAD)]
        traffic = self._traffic.at(stamp_s, base_z + camera.position[2], base_z)
        horizon = self._backdrop.copy()
        horizon["vertices"][..., 2] += np.float32(camera.position[2])
        faces, casters, lamps = [horizon], [], []
        for i, piece in enumerate(pieces):
            shift = np.float32(i * PIECE_LENGTH)
            moved = piece.faces.copy()
            moved["vertices"][..., 2] += shift
            moved["sort_key"] += shift
            faces.append(moved)
            casters.append(piece.casters + np.array([0, shift, 0, 0, 0, 0, 0], np.float32))
            lamps.append(piece.lamps + np.array([0, 0, shift], np.float32))
        behind = self._piece(base - 1)
        casters.append(behind.casters - np.array([0, PIECE_LENGTH, 0, 0, 0, 0, 0], np.float32))
        all_faces = gather([*faces, traffic.faces])
        buffer = render_geometry(
            camera,
            all_faces,
            np.concatenate([*casters, traffic.casters]),
            self._style.sun_direction,
            1.0 - self._style.overcast,
        )
        ground = draw_ground(self._style, buffer, [piece.profile for piece in pieces], base_z)
        return buffer, ground, np.concatenate(lamps)
