# SPDX-License-Identifier: Apache-2.0
"""Pictures and labels read from files, whole or not at all.

The decoders' silence is no proof: some hand out a partly grey picture for a JPEG that was cut off, and Pillow reads a PNG
with a damaged row. So the bytes are looked at first (about 2 % of the time of reading, benchmarks/data_reading.py).
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.errors import InputError

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"


def read_image(path: Path) -> NDArray[np.uint8]:
    """A PNG or JPEG file as uint8 [H, W, 3] RGB; InputError where it cannot be read to its end."""
    image = cv2.imdecode(np.frombuffer(_whole_file(path, "image"), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"image '{path}' cannot be decoded: unpack it again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """A label file of one 8-bit channel, palette indices included, as uint8 [H, W]; InputError where it is something else."""
    try:
        with Image.open(io.BytesIO(_whole_file(path, "label file"))) as picture:
            mode, labels = picture.mode, np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"label file '{path}' cannot be decoded ({error}): unpack it again") from error
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError(f"label file '{path}' is of mode {mode}, expected one 8-bit channel of class ids: check the file")
    return labels


def read_png_16(path: Path) -> NDArray[np.uint16]:
    """A PNG as it lies there, uint16 [H, W] or [H, W, 3] in the order blue, green, red; InputError where it cannot be read."""
    values = cv2.imdecode(np.frombuffer(_whole_file(path, "file"), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError(f"file '{path}' cannot be decoded: unpack it again")
    if values.dtype != np.uint16 or values.ndim > 2 and values.shape[2] != 3:
        found = f"{values.dtype} {list(values.shape)}"
        raise InputError(f"file '{path}' holds {found}, expected 16 bits in one channel or three: check the file")
    return np.asarray(values, np.uint16)


def _whole_file(path: Path, what: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{what} '{path}' cannot be read ({error.strerror}): check the path and its permissions") from error
    if problem := damage(content):
        raise InputError(f"{what} '{path}' is damaged, {problem}: unpack it again")
    return content


def damage(content: bytes) -> str:
    """What is wrong with the bytes of a PNG or JPEG file, empty where nothing is."""
    if content.startswith(_PNG_START):
        return _png_damage(content)
    if content.startswith(_JPEG_START):
        # Inside a scan every 0xff is escaped, so the last scan's start and the picture's end are what they seem.
        return "" if content.rfind(_JPEG_END) > content.rfind(_JPEG_SCAN) >= 0 else f"cut off after {len(content)} bytes"
    return f"its {len(content)} bytes are neither PNG nor JPEG"


def _png_damage(content: bytes) -> str:
    """Every chunk is there, with the checksum that it was written with (PNG specification, section 5.3)."""
    start, kind = len(_PNG_START), b""
    while kind != b"IEND":
        length = int.from_bytes(content[start : start + 4], "big")
        kind, end = content[start + 4 : start + 8], start + 12 + length
        if end > len(content):
            return f"cut off after {len(content)} bytes"
        checksum = int.from_bytes(content[end - 4 : end], "big")
        if zlib.crc32(memoryview(content)[start + 4 : end - 4]) != checksum:
            return f"chunk {kind.decode('latin-1')} at byte {start} has a wrong checksum"
        start = end
    return ""
