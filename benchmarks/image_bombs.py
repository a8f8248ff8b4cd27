# SPDX-License-Identifier: Apache-2.0
"""Image files: sound ones of every mode, other formats, and small ones that become large."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import cv2
import numpy as np
from PIL import Image as PillowImage


@cache
def sound_files() -> list[tuple[bytes, tuple[int, int]]]:
    """JPEG and PNG of every mode, each with its (height, width)."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in ((1, 1), (17, 23), (90, 160)):
        colour = PillowImage.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for mode, options in (
            ("RGB", {"format": "JPEG"}), ("L", {"format": "JPEG"}), ("CMYK", {"format": "JPEG"}),
            ("RGB", {"format": "JPEG", "progressive": True}), ("RGB", {"format": "PNG"}), ("RGBA", {"format": "PNG"}),
            ("P", {"format": "PNG"}), ("LA", {"format": "PNG"}), ("1", {"format": "PNG"}), ("L", {"format": "PNG"}),
        ):  # fmt: skip
            stream = io.BytesIO()
            colour.convert(mode).save(stream, **options)
            found.append((stream.getvalue(), (height, width)))
        deep = rng.integers(0, 65536, (height, width), dtype=np.uint16)
        found.append((cv2.imencode(".png", deep)[1].tobytes(), (height, width)))
    return found


@cache
def other_files() -> list[bytes]:
    """Small files of other formats."""
    colour = PillowImage.fromarray(np.zeros((8, 8, 3), np.uint8))
    found = []
    for name in ("BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX"):
        stream = io.BytesIO()
        colour.save(stream, format=name)
        found.append(stream.getvalue())
    return [*found, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b""]


def png(width: int, height: int, *, colour: int = 2, depth: int = 8, chunks: bytes = b"", pixels: bytes = b"") -> bytes:
    """A PNG file as it is told: `chunks` go behind the header, `pixels` are compressed."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def jpeg_of_claimed_size(width: int, height: int) -> bytes:
    """A JPEG of 17x23 pixels whose header says another size."""
    encoded = bytearray(sound_files()[11][0])
    place = encoded.index(b"\xff\xc0") + 5
    encoded[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(encoded)


@cache
def bombs() -> dict[str, bytes]:
    """Small files that become large: by their size, by their chunks, by their scans."""
    zeros = bytes(50_000_000)
    return {
        "png of 100000x100000": png(100_000, 100_000, pixels=bytes(1000)),
        "png of 2^31-1 wide": png(2**31 - 1, 1, pixels=bytes(1000)),
        "png of 0x0": png(0, 0),
        "png of 9000x9000": png(9000, 9000, colour=0, depth=1, pixels=bytes(9000 * 1126)),
        "png with text of 50 MB": png(4, 4, chunks=chunk(b"zTXt", b"k\x00\x00" + zlib.compress(zeros, 9)), pixels=bytes(52)),
        "png with profile of 50 MB": png(4, 4, chunks=chunk(b"iCCP", b"k\x00\x00" + zlib.compress(zeros, 9)), pixels=bytes(52)),
        "png with 50 MB behind its pixels": png(4, 4, pixels=bytes(52) + zeros),
        "png without pixels": png(4, 4),
        "png of an unknown colour type": png(4, 4, colour=5, pixels=bytes(52)),
        "png of a million chunks": png(4, 4, chunks=chunk(b"tEXt", b"k\x00v") * 1_000_000, pixels=bytes(52)),
        "jpeg of 65535x65535": jpeg_of_claimed_size(65535, 65535),
        "jpeg of 8000x8000, 17x23 there": jpeg_of_claimed_size(8000, 8000),
        "jpeg of 0x0": jpeg_of_claimed_size(0, 0),
        "jpeg of a million markers": b"\xff\xd8" + b"\xff\xfe\x00\x04ab" * 300_000 + sound_files()[11][0][2:],
        "jpeg of many scans": _many_scans(2000),
    }


def _many_scans(num_scans: int) -> bytes:
    """A progressive JPEG of 2000x2000 pixels whose last scan comes again and again: each costs a pass over all blocks."""
    stream = io.BytesIO()
    PillowImage.new("L", (2000, 2000), 128).save(stream, "JPEG", progressive=True)
    encoded = stream.getvalue()
    last = encoded.rindex(b"\xff\xda")
    table = encoded.rfind(b"\xff\xc4", 0, last)
    scan = encoded[table:-2] if encoded.rfind(b"\xff\xda", 0, last) < table else encoded[last:-2]
    return encoded[:-2] + scan * num_scans + encoded[-2:]
