# SPDX-License-Identifier: Apache-2.0
"""The records of an mcap file (https://mcap.dev/spec), read so that no length is believed before it is checked."""

from __future__ import annotations

import struct
import sys
from binascii import crc32
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import BinaryIO, NamedTuple, Protocol

from lz4.frame import LZ4FrameDecompressor

from vltseg_ros.bag_storage import MAX_MESSAGE_BYTES
from vltseg_ros.said_text import said

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

MAGIC = b"\x89MCAP0\r\n"
PREFIX_BYTES = 9
"""An opcode and a length precede every record's content."""
FOOTER_BYTES = PREFIX_BYTES + 20 + len(MAGIC)
_PIECE_BYTES = 2**16
_UNPACKED_PIECE_BYTES = 2**20
_PRIVATE_OPCODES = 0x80


class Damage(Exception):
    """A place that cannot be read, and why."""


class Opcode(IntEnum):
    """Kinds of records that are looked at; the others are passed over."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    CHUNK_INDEX = 0x08
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


class Record(NamedTuple):
    """Where a record's content lies. available: how much of it there is, less than `length` where the end is cut off."""

    opcode: int
    content: int
    length: int
    available: int

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.content + self.length


class Message(NamedTuple):
    """A message record; `payload` is a view."""

    channel_id: int
    time_ns: int
    payload: memoryview


class Fields:
    """Reads a record's content field by field; raises Damage where one does not fit in."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self._position = memoryview(content), 0

    def take(self, num_bytes: int) -> memoryview:
        """The next bytes."""
        start, self._position = self._position, self._position + num_bytes
        if self._position > len(self._content):
            raise Damage("a field is longer than its record")
        return self._content[start : self._position]

    def number(self, num_bytes: int) -> int:
        """An unsigned integer, little-endian."""
        return int.from_bytes(self.take(num_bytes), "little")

    def block(self) -> memoryview:
        """Bytes behind their own 32-bit length."""
        return self.take(self.number(4))

    def text(self) -> str:
        """A string."""
        return text_of(self.block())

    def rest(self) -> memoryview:
        """All that is left."""
        return self.take(len(self._content) - self._position)


def text_of(block: memoryview) -> str:
    """A string's bytes as text; raises Damage where they are none."""
    try:
        return str(block, "utf-8")
    except UnicodeDecodeError as error:
        raise Damage("a name is no UTF-8") from error


class Chunk(NamedTuple):
    """A chunk's header, and where its packed records lie."""

    start_ns: int
    end_ns: int
    size: int
    checksum: int
    compression: str
    packed: int
    packed_bytes: int
    cut: bool


def record_at(prefix: bytes | memoryview, position: int, end: int) -> Record:
    """The record whose prefix lies at `position` of something that ends at `end`; raises Damage where none can."""
    if len(prefix) < PREFIX_BYTES:
        raise Damage("a record is cut off")
    opcode, length = struct.unpack_from("<BQ", prefix)
    if opcode == 0 or Opcode.DATA_END < opcode < _PRIVATE_OPCODES:
        raise Damage(f"there is no record of kind {opcode}")
    content = position + PREFIX_BYTES
    return Record(opcode, content, length, min(length, end - content))


def record_in(file: BinaryIO, position: int, end: int) -> Record:
    """The same, of a file."""
    file.seek(position)
    return record_at(file.read(PREFIX_BYTES), position, end)


def content_of(file: BinaryIO, record: Record, max_bytes: int) -> bytes:
    """A whole record's content; raises Damage where it is cut off or longer than `max_bytes`."""
    if record.available < record.length:
        raise Damage("a record is cut off")
    if record.length > max_bytes:
        raise Damage(f"a record of {record.length} bytes is longer than {max_bytes}")
    file.seek(record.content)
    return file.read(record.length)


def chunk_of(file: BinaryIO, record: Record) -> Chunk:
    """A chunk's header; raises Damage where it cannot be one."""
    file.seek(record.content)
    head = Fields(file.read(min(record.available, 256)))
    start_ns, end_ns, size, checksum = head.number(8), head.number(8), head.number(8), head.number(4)
    compression = head.text()
    packed_bytes = head.number(8)
    packed = record.content + 40 + len(compression.encode())
    if max(size, packed_bytes) > MAX_MESSAGE_BYTES or packed + packed_bytes != record.end:
        raise Damage(f"a chunk says that it has {packed_bytes} bytes, {size} unpacked")
    available = min(packed_bytes, record.content + record.available - packed)
    return Chunk(start_ns, end_ns, size, checksum, compression, packed, available, cut=available < packed_bytes)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def unpacked(file: BinaryIO, chunk: Chunk) -> bytes | bytearray:
    """A chunk's records, of a cut chunk as far as they go; raises Damage for one that is not what was written."""
    file.seek(chunk.packed)
    packed = _pieces(file, chunk.packed_bytes)
    records: bytes | bytearray
    if chunk.compression == "":
        records = file.read(min(chunk.packed_bytes, chunk.size))
    elif chunk.compression == "zstd":
        records = inflated(packed, zstd.ZstdDecompressor(), chunk.size, cut=chunk.cut)
    elif chunk.compression == "lz4":
        records = inflated(packed, LZ4FrameDecompressor(), chunk.size, cut=chunk.cut)
    else:
        raise Damage(f"a chunk is compressed by '{said(chunk.compression)}', expected zstd or lz4")
    if not chunk.cut and len(records) != chunk.size:
        raise Damage(f"a chunk unpacks to {len(records)} bytes, expected {chunk.size}")
    if not chunk.cut and chunk.checksum and crc32(records) != chunk.checksum:
        raise Damage("a chunk's checksum is wrong")
    return records


def inflated(packed: Iterable[bytes], decompressor: _Decompressor, max_bytes: int, *, cut: bool = False) -> bytearray:
    """What is packed in these pieces; where it is known to be cut, what came out until then.

    Raises Damage where it is longer than `max_bytes`, does not end, or cannot be unpacked. It grows in one place, so that
    a long one is in memory once.
    """
    result = bytearray()
    try:
        for piece in packed:
            given = piece
            while not decompressor.eof:
                more = decompressor.decompress(given, min(_UNPACKED_PIECE_BYTES, max_bytes + 1 - len(result)))
                result += more
                if len(result) > max_bytes:
                    raise Damage(f"it unpacks to more than {max_bytes} bytes")
                if decompressor.needs_input or not (more or given):
                    break
                given = b""
    except (zstd.ZstdError, RuntimeError, EOFError) as error:
        if not cut:
            raise Damage("compressed bytes cannot be unpacked") from error
    if not cut and not decompressor.eof:
        raise Damage("compressed bytes are cut off")
    return result


def _pieces(file: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    while num_bytes > 0 and (piece := file.read(min(_PIECE_BYTES, num_bytes))):
        num_bytes -= len(piece)
        yield piece


def message_of(content: memoryview) -> Message:
    """A message record's fields; raises Damage where it is too short for them."""
    fields = Fields(content)
    channel_id, _, time_ns, _ = fields.number(2), fields.number(4), fields.number(8), fields.number(8)
    return Message(channel_id, time_ns, fields.rest())
