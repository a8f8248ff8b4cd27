# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG from anybody to pixels: what a file would cost is read from its headers before a pixel is decoded.

A small file can claim many pixels, come in thousands of passes, or consist of a million empty pieces; each is refused
before the decoder sees it. What passes is decoded whole or not at all.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from vltseg_ros.rejected_image import MAX_PIXELS, RejectedImageError, check_size

MAX_JPEG_SCANS = 100
"""Passes of a progressive JPEG; usual are ten."""

MAX_JPEG_SCANNED_PIXELS = 1 << 30
"""Pixels times further passes: sixteen passes over 8192x8192, which take seconds."""

MAX_JPEG_PIXELS_A_BYTE = 512
"""A block of 64 pixels costs a bit at least."""

MAX_PNG_PIXELS_A_BYTE = 8 * 1032
"""Pixels of one bit, at deflate's highest ratio."""

_MAX_PIECES = 1000  # markers of a JPEG before its pixels, chunks of a PNG, and one more for each of these bytes of it:
_BYTES_A_PIECE = 1024
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    EOFError,
    struct.error,
    cv2.error,
)
"""What damaged bytes lead Pillow and OpenCV to."""
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))


class _Claim(NamedTuple):
    """What a file says that it holds."""

    width: int
    height: int
    pixels_a_byte: int


def decode(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture of a whole JPEG or PNG, uint8 [H, W, 3] RGB; of 16-bit grey the upper eight bits are kept.

    Raises RejectedImageError: "encoding" for another format, "damaged" for a file that is not whole, "size" for one with
    more than `max_pixels`, "bomb" for one that would cost far more than its length, "no memory" where that ran out.
    """
    claim = _claim_of(encoded)
    check_size(claim.width, claim.height, max_pixels)
    if claim.width * claim.height > claim.pixels_a_byte * len(encoded):
        raise RejectedImageError(
            "bomb", f"{len(encoded)} bytes of compressed data claim {claim.width}x{claim.height} pixels: more than they can hold"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # the size is checked
            opened = PillowImage.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))
        with opened as picture:
            check_size(*picture.size, max_pixels)
            if picture.format == "JPEG" and picture.mode in ("RGB", "L") and (pixels := _decode_jpeg(encoded)) is not None:
                return pixels
            if picture.mode.startswith("I"):
                grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
                return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
            return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except UnidentifiedImageError:
        raise _damaged(encoded, "its headers make no sense") from None
    except (*_DECODING_ERRORS, MemoryError, PillowImage.DecompressionBombError) as error:
        if isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise RejectedImageError(
                "no memory", f"there was no memory to decode a compressed image of {claim.width}x{claim.height} pixels"
            ) from None
        raise _damaged(encoded, str(error)) from None


def _decode_jpeg(encoded: bytes) -> NDArray[np.uint8] | None:
    """By OpenCV, which takes a third of the time; None for one that is cut off, which older versions fill with grey."""
    if not encoded.endswith(_END_OF_JPEG):
        return None
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels), np.uint8)


def _claim_of(encoded: bytes) -> _Claim:
    if encoded.startswith(_PNG_SIGNATURE):
        return _claim_of_png(encoded)
    if encoded.startswith(_JPEG_START):
        return _claim_of_jpeg(encoded)
    raise RejectedImageError(
        "encoding", f"{len(encoded)} bytes of compressed data are neither JPEG nor PNG: publish one of these"
    )


def _claim_of_png(encoded: bytes) -> _Claim:
    if len(encoded) < 33 or encoded[12:16] != b"IHDR":
        raise _damaged(encoded, "it has no header")
    position, num_chunks, has_pixels = len(_PNG_SIGNATURE), 0, False
    while position + 8 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, position)
        if name == b"IEND":
            break
        has_pixels |= name == b"IDAT"
        if name == b"fcTL" and not has_pixels and encoded[position + 12 : position + 20] != encoded[16:24]:
            raise _damaged(encoded, "it is an animation whose first frame is no whole picture")
        position += length + 12
        num_chunks += 1
        if num_chunks > _MAX_PIECES + position // _BYTES_A_PIECE:
            raise _too_many(encoded, "chunks")
    width, height = struct.unpack_from(">II", encoded, 16)
    return _Claim(width, height, MAX_PNG_PIXELS_A_BYTE)


def _claim_of_jpeg(encoded: bytes) -> _Claim:
    num_scans = encoded.count(bytes((0xFF, _START_OF_SCAN)))
    if num_scans > MAX_JPEG_SCANS:
        raise _too_many(encoded, "scans")
    claims = []
    for num_segments, (marker, position) in enumerate(_jpeg_segments(encoded)):
        if num_segments > _MAX_PIECES:
            raise _too_many(encoded, "segments")
        if marker in _FRAME_MARKERS and position + 9 <= len(encoded):
            height, width = struct.unpack_from(">HH", encoded, position + 5)
            claims.append(_Claim(width, height, MAX_JPEG_PIXELS_A_BYTE))
    if not claims:
        raise _damaged(encoded, "it has no frame header")
    largest = max(claims, key=lambda claim: claim.width * claim.height)
    if (num_scans - 1) * largest.width * largest.height > MAX_JPEG_SCANNED_PIXELS:  # one scan is bounded by the size
        raise _too_many(encoded, "scans for its size")
    return largest


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Each marker before the first scan, padding too, and where it lies."""
    position = len(_JPEG_START)
    while 0 <= (position := encoded.find(b"\xff", position)) < len(encoded) - 3:
        marker = encoded[position + 1]
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        yield marker, position
        if marker in (0x00, 0xFF):  # a stuffed byte, or padding
            position += 1
            continue
        position += 2 if marker in _MARKERS_ALONE else 2 + struct.unpack_from(">H", encoded, position + 2)[0]


def _damaged(encoded: bytes, why: str) -> RejectedImageError:
    return RejectedImageError("damaged", f"compressed image of {len(encoded)} bytes is damaged ({why})")


def _too_many(encoded: bytes, what: str) -> RejectedImageError:
    return RejectedImageError("bomb", f"compressed image of {len(encoded)} bytes has too many {what}: re-encode it")
