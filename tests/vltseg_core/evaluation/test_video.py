# SPDX-License-Identifier: Apache-2.0
"""The video is H.264 in 4:2:0 colour, as browsers want it, and shows what went in."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vltseg_core.evaluation.video import VideoWriter


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        return stream.codec_context.name, stream.codec_context.pix_fmt, frames


def test_pictures_come_back_at_their_times(tmp_path):
    path = tmp_path / "video.mp4"
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    with VideoWriter(path, 5.0) as video:
        for colour in colours:
            video.add(np.full((48, 64, 3), colour, np.uint8))
    codec, pixel_format, frames = decoded(path)
    assert (codec, pixel_format) == ("h264", "yuv420p")
    assert [round(time, 3) for time, _ in frames] == [0.0, 0.2, 0.4]
    for colour, (_, picture) in zip(colours, frames, strict=True):
        np.testing.assert_allclose(picture.mean(axis=(0, 1)), colour, atol=8)


@pytest.mark.parametrize(
    ("size", "max_width_px", "expected"),
    [((37, 51), 1920, (36, 52)), ((100, 400), 200, (50, 200)), ((48, 64), 1920, (48, 64))],
)
def test_sides_are_even_and_the_width_is_bounded(tmp_path, size, max_width_px, expected):
    path = tmp_path / "video.mp4"
    with VideoWriter(path, 10.0, max_width_px=max_width_px) as video:
        video.add(np.zeros((*size, 3), np.uint8))
    _, _, frames = decoded(path)
    height, width = frames[0][1].shape[:2]
    assert height % 2 == width % 2 == 0
    assert abs(height - expected[0]) <= 2 and abs(width - expected[1]) <= 2


def test_a_picture_of_another_size_is_scaled_to_the_first(tmp_path):
    path = tmp_path / "video.mp4"
    with VideoWriter(path, 10.0) as video:
        video.add(np.full((48, 64, 3), 90, np.uint8))
        video.add(np.full((96, 64, 3), 160, np.uint8))
    _, _, frames = decoded(path)
    assert [frame.shape for _, frame in frames] == [(48, 64, 3)] * 2
    assert abs(frames[1][1].mean() - 160) < 6
