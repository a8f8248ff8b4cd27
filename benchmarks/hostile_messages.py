# SPDX-License-Identifier: Apache-2.0
"""Image messages as a stranger, a broken driver or a lost bit may send them, drawn from a seed."""

from __future__ import annotations

import array
import random
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from image_bombs import bombs, other_files, sound_files
from sensor_msgs.msg import CompressedImage, Image

BYTES_A_PIXEL = {
    **{f"{name}{bits}": size * bits // 8 for name, size in (("rgb", 3), ("bgr", 3), ("rgba", 4), ("bgra", 4), ("mono", 1))
       for bits in (8, 16)},
    **{f"bayer_{name}{bits}": bits // 8 for name in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)},
    **{"8UC1": 1, "8UC3": 3, "8UC4": 4, "16UC1": 2, "16UC3": 6},
    **dict.fromkeys(("yuv422", "uyvy", "yuv422_yuy2", "yuyv"), 2),
}  # fmt: skip
OTHER_ENCODINGS = (
    *(f"{bits}{kind}C{n}" for bits in (8, 16, 32, 64) for kind in "USF" for n in (1, 2, 3, 4, 5, 512)),
    *("nv12", "nv21", "nv24", "yuv444", "jpeg", "png", "h264", "rle", "", " ", "rgb8 ", "RGB8", "rgb", "bgr8; png compressed"),
    *("\x00", "rgb8\x00", "🚗", "8UC", "8UC-1", "8UC99999999999999999999", "../../etc/passwd", "%s%n", "a" * 70_000),
)
_STAMPS = (0, 0, 0), (1, 0, 0), (2**31 - 1, 999_999_999, 0), (-(2**31), 2**32 - 1, 0), (-1, 1, 0), (0, 2**32 - 1, 0)


class Drawn(NamedTuple):
    """A message and what must happen to it: "answered", "rejected", or None where both are right. size: (height, width)."""

    message: Image | CompressedImage
    kind: str
    expected: str | None
    size: tuple[int, int] | None = None


class HostileMessages:
    """Endless messages from a seed; `compressed` CompressedImage, else Image. large: up to 8K now and then."""

    def __init__(self, seed: int, *, compressed: bool, large: bool = True) -> None:
        self._random = random.Random(seed)
        self._large = large
        self._kinds = _COMPRESSED_KINDS if compressed else _RAW_KINDS
        self._good = good_compressed if compressed else good_raw
        self._second = 1_000_000

    def draw(self) -> Drawn:
        """The next message; about a third is sound."""
        drawn = self.good() if self._random.random() < 0.2 else self._random.choice(self._kinds)(self._random, self._large)
        self._stamp(drawn.message)
        return drawn

    def good(self) -> Drawn:
        """A message that must be answered."""
        drawn = self._good(self._random, False)
        self._stamp(drawn.message)
        return drawn

    def largest(self, number: int) -> Drawn:
        """A sound message; where images are raw as large as there will be any, 8K, of one encoding or another by its number."""
        if self._good is good_compressed:
            return self.good()
        encoding = ("rgb16", "mono8", "rgba16")[number % 3]
        return Drawn(_image(self._random, encoding, 4320, 7680), "sound", "answered", (4320, 7680))

    def _stamp(self, message: Any) -> None:
        """Rising, equal, backwards, zero, far past and far future."""
        self._second += self._random.choice((0, 0, 1, 1, 1, -1000))
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = max(0, self._second), self._random.randrange(10**9)
        if self._random.random() < 0.1:
            stamp.sec, stamp.nanosec, _ = self._random.choice(_STAMPS)
        message.header.frame_id = self._random.choice(("front", "front", "front", "", "a/b c", "é\x00x", "f" * 100_000))


def good_raw(rng: random.Random, large: bool) -> Drawn:
    """Any encoding, padded or not, either byte order; with `large` up to 8K."""
    encoding = rng.choice(list(BYTES_A_PIXEL))
    height, width = _size(rng, large)
    width += width % 2
    return Drawn(_image(rng, encoding, height, width, padding=rng.choice((0, 0, 1, 13))), "sound", "answered", (height, width))


def _size(rng: random.Random, large: bool) -> tuple[int, int]:
    chance = rng.random() if large else 1.0
    if chance < 0.001:
        return rng.choice(((4320, 7680), (2160, 3840), (1, 32766), (20000, 2)))
    if chance < 0.01:
        return 1080, 1920
    return rng.randint(1, 96), rng.randint(1, 96)


def _image(rng: random.Random, encoding: str, height: int, width: int, padding: int = 0) -> Image:
    step = width * BYTES_A_PIXEL.get(encoding, 3) + padding
    message = Image(encoding=encoding, height=height, width=width, step=step, is_bigendian=rng.choice((0, 1, 255)))
    message.data = array.array("B", _rubbish(height * step))
    return message


def _rubbish(num_bytes: int) -> bytes:
    block = _block()
    return (block * (num_bytes // len(block) + 1))[:num_bytes]


@cache
def _block() -> bytes:
    return random.Random(0).randbytes(1 << 16)


def _planar(rng: random.Random, large: bool) -> Drawn:
    height, width = 2 * rng.randint(1, 40), 2 * rng.randint(1, 40)
    message = Image(encoding=rng.choice(("nv12", "nv21")), height=height, width=width, step=width)
    message.data = array.array("B", _rubbish(height * 3 // 2 * width))
    return Drawn(message, "sound", "answered", (height, width))


def _odd_planar(rng: random.Random, large: bool) -> Drawn:
    message = _image(rng, rng.choice(("nv12", "nv21", "yuv422", "yuyv")), 7, 9, 20)
    return Drawn(message, "yuv of odd sides", "rejected")


def _zero_size(rng: random.Random, large: bool) -> Drawn:
    message = _image(rng, rng.choice(list(BYTES_A_PIXEL)), 4, 4)
    message.height, message.width = rng.choice(((0, 4), (4, 0), (0, 0)))
    return Drawn(message, "no pixels", "rejected")


def _claimed_size(rng: random.Random, large: bool) -> Drawn:
    message = _image(rng, rng.choice([*BYTES_A_PIXEL, *OTHER_ENCODINGS[:20]]), 4, 4)
    message.height, message.width, message.step = rng.choice(
        (
            (2**32 - 1, 2**32 - 1, 2**32 - 1),
            (65536, 65536, 65536 * 3),
            (1, 65536, 196608),
            (1, 2**32 - 1, 3),
            (2**31, 1, 0),
            (8192, 8192, 24576),
        )
    )
    return Drawn(message, "claims a size that it is not", "rejected")


def _step(rng: random.Random, large: bool) -> Drawn:
    message = _image(rng, rng.choice(list(BYTES_A_PIXEL)), rng.randint(1, 20), rng.randint(2, 20))
    message.step = rng.choice((0, message.step - 1, 1 if message.step > 1 else 0, 2**32 - 1))
    return Drawn(message, "wrong step", "rejected")


def _short(rng: random.Random, large: bool) -> Drawn:
    height, width = _size(rng, large)
    message = _image(rng, rng.choice(list(BYTES_A_PIXEL)), height, width + width % 2)
    message.data = message.data[: rng.choice((0, 1, len(message.data) - 1, rng.randrange(len(message.data))))]
    return Drawn(message, "short data", "rejected" if len(message.data) < height * message.step else None)


def _long(rng: random.Random, large: bool) -> Drawn:
    drawn = good_raw(rng, False)
    drawn.message.data.extend(_rubbish(rng.randint(1, 5000)))
    return drawn._replace(kind="more data than pixels")


def _encoding(rng: random.Random, large: bool) -> Drawn:
    message = _image(rng, "rgb8", rng.randint(1, 20), rng.randint(1, 20))
    message.encoding = rng.choice(OTHER_ENCODINGS) if rng.random() < 0.8 else _text(rng)
    return Drawn(message, "other encodings", None)


def _text(rng: random.Random) -> str:
    return "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xD7FF)))) for _ in range(rng.randrange(12)))


def _anything(rng: random.Random, large: bool) -> Drawn:
    """Every field by itself."""
    numbers = (0, 1, 2, 3, rng.randrange(200), 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32))
    message = Image(encoding=rng.choice([*BYTES_A_PIXEL, *OTHER_ENCODINGS]), is_bigendian=rng.randrange(256))
    message.height, message.width, message.step = (rng.choice(numbers) for _ in range(3))
    message.data = array.array("B", _rubbish(rng.randrange(5000)))
    return Drawn(message, "every field at random", None)


_RAW_KINDS: tuple[Callable[[random.Random, bool], Drawn], ...] = (
    good_raw, _planar, _odd_planar, _zero_size, _claimed_size, _step, _short, _long, _encoding, _anything,
)  # fmt: skip


def good_compressed(rng: random.Random, large: bool) -> Drawn:
    """JPEG or PNG of every mode, its format field right or not."""
    index = rng.randrange(len(sound_files()))
    encoded, size = sound_files()[index]
    return Drawn(_compressed(rng, encoded), "sound", "answered", size)


def _compressed(rng: random.Random, encoded: bytes) -> CompressedImage:
    message = CompressedImage(format=rng.choice(("jpeg", "png", "", "rgb8; jpeg compressed bgr8", "h264", "é" * 9)))
    message.data = array.array("B", encoded)
    return message


def _truncated(rng: random.Random, large: bool) -> Drawn:
    encoded = rng.choice(sound_files())[0]
    return Drawn(_compressed(rng, encoded[: rng.randrange(len(encoded))]), "truncated", None)


def _flipped(rng: random.Random, large: bool) -> Drawn:
    encoded = bytearray(rng.choice(sound_files())[0])
    for _ in range(rng.choice((1, 2, 10, 100))):
        encoded[rng.randrange(len(encoded))] = rng.randrange(256)
    return Drawn(_compressed(rng, bytes(encoded)), "bytes changed", None)


def _spliced(rng: random.Random, large: bool) -> Drawn:
    encoded = bytearray(rng.choice(sound_files())[0])
    at = rng.randrange(len(encoded))
    encoded[at:at] = rng.randbytes(rng.choice((1, 4, 300)))
    return Drawn(_compressed(rng, bytes(encoded)), "bytes put in", None)


def _rubbish_file(rng: random.Random, large: bool) -> Drawn:
    start = rng.choice((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"))
    return Drawn(_compressed(rng, start + rng.randbytes(rng.randrange(3000))), "rubbish", "rejected")


def _other_format(rng: random.Random, large: bool) -> Drawn:
    return Drawn(_compressed(rng, rng.choice(other_files())), "other formats", "rejected")


def _bomb(rng: random.Random, large: bool) -> Drawn:
    name = rng.choice(list(bombs()))
    return Drawn(_compressed(rng, bombs()[name]), f"bomb: {name}", None)


_COMPRESSED_KINDS: tuple[Callable[[random.Random, bool], Drawn], ...] = (
    *(good_compressed, _truncated, _flipped, _spliced, _rubbish_file, _other_format) * 20, _bomb,
)  # fmt: skip
