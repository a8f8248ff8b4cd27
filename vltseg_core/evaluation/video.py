# SPDX-License-Identifier: Apache-2.0
"""Writes pictures as an H.264 mp4 that browsers play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import ConfigurationError

_ENCODERS = ("libx264", "libopenh264")


class VideoWriter:
    """An mp4 file, written picture by picture; use it as a context manager.

    The first picture sets the size: at most `max_width_px` wide, both sides even, as H.264 with 4:2:0 colour needs it.
    Later pictures of another size are scaled to it. Raises ConfigurationError where PyAV has no H.264 encoder.
    """

    def __init__(self, path: Path, frame_rate_hz: float, *, max_width_px: int = 1920, crf: int = 23) -> None:
        self._frame_rate = Fraction(frame_rate_hz).limit_denominator(1001)
        self._max_width_px = max_width_px
        self._crf = crf
        self._encoder = _h264_encoder()
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._stream: av.VideoStream | None = None
        self.num_frames = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append one picture, uint8 [H, W, 3] RGB."""
        if self._stream is None:
            self._stream = self._open_stream(picture.shape[1], picture.shape[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        scaled = frame.reformat(self._stream.width, self._stream.height, "yuv420p", interpolation="AREA")
        self._container.mux(self._stream.encode(scaled))
        self.num_frames += 1

    def close(self) -> None:
        """Finish the file; without a picture it holds no stream."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def _open_stream(self, width_px: int, height_px: int) -> av.VideoStream:
        scale = min(1.0, self._max_width_px / width_px)
        options = {"crf": str(self._crf), "preset": "veryfast"} if self._encoder == "libx264" else {}
        stream = self._container.add_stream(self._encoder, rate=self._frame_rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = (max(2, round(side * scale / 2) * 2) for side in (width_px, height_px))
        stream.pix_fmt = "yuv420p"
        return stream

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _h264_encoder() -> str:
    for name in _ENCODERS:
        if name in av.codecs_available:
            return name
    raise ConfigurationError(
        f"this PyAV has no H.264 encoder ({' or '.join(_ENCODERS)}), which the video needs: "
        "install PyAV from its wheels, pip install av"
    )
