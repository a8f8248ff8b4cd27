# SPDX-License-Identifier: Apache-2.0
"""Compressed images of every mode are decoded; what would cost far more than its length is refused unseen."""

from __future__ import annotations

import io
import random
import struct
import time
import tracemalloc
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from vltseg_ros.image_decoding import decode
from vltseg_ros.rejected_image import RejectedImageError


def encoded(image_format: str, mode: str = "RGB", size: tuple[int, int] = (24, 16), **options: Any) -> bytes:
    """A smooth picture of (width, height)."""
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(stream, image_format, **options)
    return stream.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, pixels: bytes, *, chunks: bytes = b"", colour: int = 2, depth: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def jpeg_that_claims(width: int, height: int) -> bytes:
    changed = bytearray(encoded("JPEG"))
    place = changed.index(b"\xff\xc0") + 5
    changed[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(changed)


def jpeg_of_scans(num_scans: int) -> bytes:
    whole = encoded("JPEG", "L", (64, 64), progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + scan * (num_scans - whole.count(b"\xff\xda")) + whole[-2:]


def rejected(data: bytes) -> RejectedImageError:
    with pytest.raises(RejectedImageError) as caught:
        decode(data)
    return caught.value


@pytest.mark.parametrize(
    ("image_format", "mode", "options"),
    [
        ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("PNG", "L", {}), ("PNG", "LA", {}), ("PNG", "P", {}), ("PNG", "1", {}),
        ("JPEG", "RGB", {}), ("JPEG", "L", {}), ("JPEG", "CMYK", {}), ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"exif": b"Exif\x00\x00" + bytes(20_000)}), ("JPEG", "RGB", {"comment": b"\xff" * 3000}),
    ],
)  # fmt: skip
def test_every_mode_is_decoded(image_format: str, mode: str, options: dict[str, Any]) -> None:
    picture = decode(encoded(image_format, mode, **options))
    assert picture.shape == (16, 24, 3) and picture.dtype == np.uint8 and picture.flags.c_contiguous


@pytest.mark.parametrize("size", [(8192, 8), (3840, 2160)])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_a_large_picture_of_one_colour_is_no_bomb(image_format: str, size: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, image_format, optimize=True)
    assert decode(stream.getvalue()).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    "data",
    [
        png(100_000, 100_000, bytes(1000)),
        png(2**31 - 1, 1, bytes(1000)),
        png(8193, 8192, bytes(1000)),
        png(0, 5, b""),
        jpeg_that_claims(65535, 65535),
        jpeg_that_claims(0, 0),
    ],
)
def test_a_size_that_cannot_be_is_read_from_the_header(data: bytes) -> None:
    assert rejected(data).reason == "size"


def test_the_limit_can_be_lower() -> None:
    data = encoded("PNG")  # 24x16
    assert decode(data, max_pixels=384).shape == (16, 24, 3)
    with pytest.raises(RejectedImageError, match="over the limit of 383 pixels.*or raise max_image_megapixels"):
        decode(data, max_pixels=383)
    with pytest.raises(RejectedImageError) as refusal:
        decode(png(40_000, 1, bytes(100)), max_pixels=383)
    assert "raise" not in str(refusal.value)  # a side over the limit of any node


def test_an_animation_whose_first_frame_is_a_part_is_no_picture() -> None:
    def animated(width: int, height: int, *, first: bool) -> bytes:
        part = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0))
        whole = png(16, 8, bytes(8 * 49), chunks=chunk(b"acTL", struct.pack(">II", 1, 0)) + part * first)
        end = whole.rindex(b"IEND") - 4
        return whole if first else whole[:end] + part + whole[end:]

    assert rejected(animated(1, 1, first=True)).reason == "damaged"
    assert decode(animated(16, 8, first=True)).shape == decode(animated(1, 1, first=False)).shape == (8, 16, 3)


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("Insufficient memory")])
def test_a_sound_picture_is_not_damaged_where_memory_runs_out(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        error.code = cv2.Error.StsNoMem  # type: ignore[attr-defined]  # OpenCV sets it on its own
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    assert rejected(encoded("JPEG")).reason == "no memory"


@pytest.mark.parametrize(
    "data",
    [
        jpeg_that_claims(8000, 8000),
        jpeg_that_claims(4000, 1000),
        png(8000, 8000, bytes(1000)),
        jpeg_of_scans(101),
        jpeg_that_claims(8192, 8192) + b"\xff\xda" * 17 + bytes(1 << 17),
        png(2, 2, bytes(14), chunks=chunk(b"tEXt", b"k\x00v") * 5000),
        b"\xff\xd8" + b"\xff\xfe\x00\x04ab" * 5000 + encoded("JPEG")[2:],
        b"\xff\xd8" + b"\xff" * 1_000_000 + encoded("JPEG")[2:],
    ],
)
def test_what_costs_more_than_its_length_is_refused_in_no_time_and_memory(data: bytes) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    error = rejected(data)
    assert time.perf_counter() - start < 0.5 and tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    assert error.reason == "bomb" and f"{len(data)} bytes" in str(error)


def test_usual_numbers_of_scans_and_chunks_are_taken() -> None:
    assert decode(jpeg_of_scans(40)).shape == (64, 64, 3)
    assert decode(png(2, 2, bytes(14), chunks=chunk(b"tEXt", b"k\x00v") * 500)).shape == (2, 2, 3)


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP", b"iTXt"])
def test_a_chunk_that_unfolds_to_a_hundred_megabytes_is_refused(name: bytes) -> None:
    separator = b"k\x00\x00" if name != b"iTXt" else b"k\x00\x01\x00\x00\x00"
    data = png(2, 2, bytes(14), chunks=chunk(name, separator + zlib.compress(bytes(100_000_000), 9)))
    tracemalloc.start()
    assert rejected(data).reason == "damaged" and tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_palette_s_transparency_without_its_palette_is_damage() -> None:
    data = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000040000000408030000009e2f6e4c0000000174524e530040e6d866"
        "0000000b49444154789c6360c00400001400017dfe1eee0000000049454e44ae426082"
    )
    assert rejected(data).reason == "damaged"


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_whatever_is_changed_it_is_a_picture_or_a_rejection(image_format: str) -> None:
    rng = random.Random(0)
    whole = encoded(image_format)
    fates = set()
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = data[: rng.choice((len(data), rng.randrange(len(data))))]
        try:
            fates.add(decode(bytes(data)).shape[2])
        except RejectedImageError as error:
            fates.add(error.reason)
    assert {3, "damaged"} <= fates <= {3, "damaged", "size", "encoding", "bomb"}
