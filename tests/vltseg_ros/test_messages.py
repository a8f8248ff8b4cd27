# SPDX-License-Identifier: Apache-2.0
"""Every encoding to the same colours; what cannot be right is rejected with its reason."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

pytest.importorskip("sensor_msgs", reason="ROS 2's sensor_msgs is not installed")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vltseg_ros import messages
from vltseg_ros.messages import RejectedImageError, from_labels, from_rgb, jpeg_from_rgb, to_rgb

RED, GREEN, BLUE = (200, 30, 60), (20, 180, 90), (10, 40, 220)


def picture(height: int = 6, width: int = 8) -> NDArray[np.uint8]:
    """Random colours, seeded."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def message(rows: NDArray[np.generic], encoding: str, width: int, padding: int = 0, **fields: object) -> Image:
    """An Image of rows [H, ...], each with `padding` bytes of rubbish behind it."""
    packed = np.ascontiguousarray(rows).view(np.uint8).reshape(rows.shape[0], -1)
    padded = np.concatenate([packed, np.full((packed.shape[0], padding), 77, np.uint8)], axis=1)
    result = Image(encoding=encoding, height=rows.shape[0], width=width, step=padded.shape[1])
    for name, value in fields.items():
        setattr(result, name, value)
    result.data = padded.tobytes()
    return result


PACKED = {
    "rgb8": lambda p: p,
    "bgr8": lambda p: p[..., ::-1],
    "8UC3": lambda p: p[..., ::-1],
    "rgba8": lambda p: np.dstack([p, np.full(p.shape[:2], 9, np.uint8)]),
    "bgra8": lambda p: np.dstack([p[..., ::-1], np.full(p.shape[:2], 9, np.uint8)]),
    "rgb16": lambda p: p.astype("<u2") * 256 + 5,
    "bgr16": lambda p: p[..., ::-1].astype("<u2") * 256 + 5,
}


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1)])
def test_colour_encodings_give_the_same_picture(encoding: str, padding: int, size: tuple[int, int]) -> None:
    expected = picture(*size)
    result = to_rgb(message(PACKED[encoding](expected), encoding, size[1], padding))
    assert result.dtype == np.uint8 and result.flags.c_contiguous
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding: str) -> None:
    grey = picture()[..., 0]
    assert np.array_equal(to_rgb(message(grey, encoding, 8, padding=3)), np.dstack([grey] * 3))


@pytest.mark.parametrize("big_endian", [0, 1])
def test_sixteen_bit_grey_keeps_its_upper_byte_in_both_byte_orders(big_endian: int) -> None:
    samples = np.array([[0x12FF, 0xFE01]], ">u2" if big_endian else "<u2")
    result = to_rgb(message(samples, "mono16", 2, is_bigendian=big_endian))
    assert result[0, :, 0].tolist() == [0x12, 0xFE]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
def test_bayer_patterns_give_the_colour_that_was_seen(pattern: str, colour: tuple[int, int, int], bits: int) -> None:
    channel = {"r": 0, "g": 1, "b": 2}
    mosaic = np.zeros((8, 10), np.uint8)
    for place, letter in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colour[channel[letter]]
    rows = mosaic if bits == 8 else mosaic.astype("<u2") * 256
    result = to_rgb(message(rows, f"bayer_{pattern}{bits}", 10, padding=4))
    assert result.shape == (8, 10, 3)
    assert (result == colour).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 9)])
def test_odd_and_tiny_bayer_images_keep_their_size(size: tuple[int, int]) -> None:
    assert to_rgb(message(np.full(size, 50, np.uint8), "bayer_rggb8", size[1])).shape == (*size, 3)


def yuv(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """BT.601 studio range, as cameras send it."""
    r, g, b = (c / 255 for c in colour)
    return (
        16 + 65.481 * r + 128.553 * g + 24.966 * b,
        128 - 37.797 * r - 74.203 * g + 112 * b,
        128 + 112 * r - 93.786 * g - 18.214 * b,
    )


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_yuv_encodings_give_the_colour_that_was_seen(encoding: str, colour: tuple[int, int, int]) -> None:
    y, u, v = (np.uint8(round(c)) for c in yuv(colour))
    if encoding.startswith("nv"):
        chroma = [u, v] if encoding == "nv12" else [v, u]
        rows = np.vstack([np.full((4, 6), y), np.tile(np.array(chroma, np.uint8), (2, 3))])
        sent = message(rows, encoding, 6)
        sent.height = 4
    else:
        quad = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
        sent = message(np.tile(np.array(quad, np.uint8), (4, 3)), encoding, 6, padding=2)
    result = to_rgb(sent)
    assert result.shape == (4, 6, 3)
    assert np.abs(result.astype(int) - colour).max() <= 2


def rejected(sent: Image | CompressedImage) -> RejectedImageError:
    with pytest.raises(RejectedImageError) as caught:
        to_rgb(sent)
    return caught.value


def test_short_data_is_rejected_with_what_was_expected() -> None:
    sent = message(picture(), "rgb8", 8)
    sent.data = bytes(sent.data)[:-1]
    error = rejected(sent)
    assert error.reason == "short data" and "143 bytes of data, expected 144 (6 rows of step 24)" in str(error)


def test_a_step_under_the_row_is_rejected() -> None:
    assert rejected(message(picture(), "rgba8", 8)).reason == "step"


@pytest.mark.parametrize("size", [(0, 8), (8, 0), (0, 0), (2**31, 2**31), (100_000, 100_000), (1, 32768), (65501, 1)])
def test_impossible_sizes_are_rejected_before_anything_is_allocated(size: tuple[int, int]) -> None:
    assert rejected(Image(encoding="rgb8", height=size[0], width=size[1], step=8)).reason == "size"


@pytest.mark.parametrize("encoding", ["yuv422", "nv12"])
def test_yuv_of_odd_width_is_rejected(encoding: str) -> None:
    assert rejected(Image(encoding=encoding, height=4, width=5, step=10, data=bytes(80))).reason == "size"


@pytest.mark.parametrize("encoding", ["", "rgb9", "32FC1", "64FC4", "bayer", "\x00", "rgb8 "])
def test_an_unknown_encoding_is_rejected(encoding: str) -> None:
    error = rejected(Image(encoding=encoding, height=2, width=2, step=64, data=bytes(128)))
    assert error.reason == "encoding" and "publish rgb8" in str(error)


def encoded(image_format: str, pixels: NDArray[np.generic] | None = None) -> bytes:
    buffer = io.BytesIO()
    smooth = cv2.resize(picture(3, 4), (80, 60)) if pixels is None else pixels
    PillowImage.fromarray(smooth).save(buffer, image_format)
    return buffer.getvalue()


def test_png_is_exact_and_jpeg_is_near() -> None:
    smooth = cv2.resize(picture(3, 4), (80, 60))
    assert np.array_equal(to_rgb(CompressedImage(format="png", data=encoded("PNG"))), smooth)
    jpeg = to_rgb(CompressedImage(format="rgb8; jpeg compressed bgr8", data=encoded("JPEG")))
    assert np.abs(jpeg.astype(int) - smooth).mean() < 6


def test_a_sixteen_bit_png_keeps_its_upper_byte() -> None:
    depth = np.array([[0x0100, 0xFF00]], np.uint16)
    assert to_rgb(CompressedImage(data=encoded("PNG", depth)))[0, :, 1].tolist() == [1, 255]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("trailing", [b"", b"\0\0"])
def test_jpegs_are_what_pillow_decodes_and_not_turned(mode: str, trailing: bytes) -> None:
    sideways = PillowImage.Exif()
    sideways[0x0112] = 6
    buffer = io.BytesIO()
    PillowImage.fromarray(cv2.resize(picture(3, 4), (80, 60))).convert(mode).save(buffer, "JPEG", exif=sideways)
    found = to_rgb(CompressedImage(data=buffer.getvalue() + trailing))
    expected = np.array(PillowImage.open(buffer).convert("RGB"))
    assert found.shape == (60, 80, 3) and np.abs(found.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_rejected(image_format: str, share: float) -> None:
    whole = encoded(image_format)
    assert rejected(CompressedImage(data=whole[: int(len(whole) * share)])).reason == "damaged"


@pytest.mark.parametrize("rubbish", [b"", b"\xff\xd8", b"GIF89a" + bytes(100), bytes(1000)])
def test_what_is_no_picture_is_rejected(rubbish: bytes) -> None:
    assert rejected(CompressedImage(data=rubbish)).reason in ("encoding", "damaged")


def test_a_png_that_claims_to_be_huge_is_rejected_by_its_header() -> None:
    bomb = bytearray(encoded("PNG"))
    bomb[16:24] = (12_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    assert rejected(CompressedImage(data=bytes(bomb))).reason == "size"


def test_masks_carry_the_header_and_the_bytes() -> None:
    header = Header(frame_id="front")
    header.stamp.sec, header.stamp.nanosec = 2**31 - 1, 999_999_999
    labels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    mask = from_labels(header, labels)
    assert (mask.header, mask.encoding, mask.height, mask.width, mask.step) == (header, "mono8", 5, 7, 7)
    assert bytes(mask.data) == labels.tobytes()
    assert np.array_equal(to_rgb(from_rgb(header, picture())), picture())
    smooth = cv2.resize(picture(3, 4), (80, 60))
    jpeg = jpeg_from_rgb(header, smooth)
    assert jpeg.format == "jpeg" and np.abs(to_rgb(jpeg).astype(int) - smooth).mean() < 6


def test_a_strided_view_is_packed() -> None:
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8)[:, ::2]
    assert bytes(messages.from_labels(Header(), labels).data) == np.ascontiguousarray(labels).tobytes()
