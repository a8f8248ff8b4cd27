# SPDX-License-Identifier: Apache-2.0
"""Reads an mcap file from its beginning, chunk by chunk, over every damaged place.

The index at its end, where there is one, says what the file holds and where reading can go on; no message is looked up
by it. So a file without its end, or with a wrong index, is read like a sound one.
"""

from __future__ import annotations

import heapq
from binascii import crc32
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from vltseg_core.errors import InputError
from vltseg_ros.bag_storage import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, BagMessage, BagTopic, Losses, entries_of, metadata_of
from vltseg_ros.mcap_records import (
    FOOTER_BYTES,
    MAGIC,
    PREFIX_BYTES,
    Chunk,
    Damage,
    Fields,
    Message,
    Opcode,
    Record,
    chunk_of,
    content_of,
    message_of,
    record_at,
    record_in,
    text_of,
    unpacked,
)
from vltseg_ros.said_text import said

_SUMMARY_PIECE_BYTES = 2**20
_MAX_CHANNELS = 2**16
_MAX_METADATA_RECORDS = 4
"""A recorder writes one or two."""


class _Channel(NamedTuple):
    topic: str
    message_type: str
    encoding: str


class _Section(NamedTuple):
    """A chunk, or a message outside of any."""

    start_ns: int
    place: int
    content: Chunk | Record


class McapStorage:
    """One mcap file; a `BagStorage`."""

    def __init__(self, path: Path) -> None:
        self.losses = Losses()
        self.entries: dict[str, str] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._path, self._name = path, said(path.name)
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, _Channel] = {}
        self._num_name_bytes = 0
        self._num_metadata_records = 0
        self._chunk_offsets: list[int] = []
        self._file = path.open("rb")
        self._size = path.stat().st_size
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.close()
            raise InputError(f"'{path}' is no mcap file (it does not begin as one): give a bag's folder, .mcap or .db3 file")
        try:
            self.topics = self._counted(self._num_messages())
        except InputError:
            self.close()
            raise

    def messages(self, topics: Collection[str], stop_ns: int | None = None) -> Iterator[BagMessage]:
        """The readable messages of these topics before `stop_ns`, in the order of their times."""
        waiting: list[tuple[int, int, BagMessage]] = []
        arrival, num_bytes = count(), 0
        for section in self._sections():
            size = section.content.size if isinstance(section.content, Chunk) else section.content.length
            while waiting and (waiting[0][0] < section.start_ns or num_bytes + size > MAX_MESSAGE_BYTES):
                num_bytes -= len(waiting[0][2].cdr)
                yield heapq.heappop(waiting)[2]
            if stop_ns is not None and section.start_ns >= stop_ns:
                continue
            for channel_id, time_ns, payload in self._messages_of(section):
                channel = self._channels[channel_id]
                if channel.topic in topics and (stop_ns is None or time_ns < stop_ns):
                    message = BagMessage(channel.topic, channel.message_type, time_ns, bytes(payload))
                    heapq.heappush(waiting, (time_ns, next(arrival), message))
                    num_bytes += len(message.cdr)
                    del message
                del payload  # a view: it would keep the whole chunk in memory while the next one is unpacked
        while waiting:
            yield heapq.heappop(waiting)[2]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _sections(self) -> Iterator[_Section]:
        """Everything that holds messages, from the file's beginning to its end or to where nothing more can be found."""
        position: int | None = len(MAGIC)
        while position is not None and position < self._size:
            place = position
            try:
                record = record_in(self._file, place, self._size)
                if record.opcode in (Opcode.DATA_END, Opcode.FOOTER):
                    return
                section = self._section_of(place, record)
            except Damage as damage:
                position = self._resume_behind(place, damage)
                continue
            if section is not None:
                yield section
            position = record.end
            if record.available < record.length:
                position = self._resume_behind(place, Damage("the file is cut off here"))
        if position is not None:
            self._lose(position, "the file is cut off here")

    def _section_of(self, place: int, record: Record) -> _Section | None:
        if record.opcode == Opcode.CHUNK:
            chunk = chunk_of(self._file, record)
            return _Section(chunk.start_ns, place, chunk)
        if record.opcode == Opcode.MESSAGE:
            if record.length > MAX_MESSAGE_BYTES:
                raise Damage(f"a message of {record.length} bytes is longer than {MAX_MESSAGE_BYTES}")
            self._file.seek(record.content)
            return _Section(message_of(memoryview(self._file.read(22))).time_ns, place, record)
        if record.opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.METADATA):
            self._learn(record.opcode, content_of(self._file, record, MAX_METADATA_BYTES))
        return None

    def _messages_of(self, section: _Section) -> Iterator[Message]:
        """Its messages on channels that are known, to the first damaged place."""
        try:
            if isinstance(section.content, Record):
                message = message_of(memoryview(content_of(self._file, section.content, MAX_MESSAGE_BYTES)))
                if message.channel_id in self._channels:
                    yield message
                return
            yield from self._messages_in(section.content)
        except Damage as damage:
            self._lose(section.place, str(damage))

    def _messages_in(self, chunk: Chunk) -> Iterator[Message]:
        records = memoryview(unpacked(self._file, chunk))
        position = 0
        while position < len(records):
            record = record_at(records[position : position + PREFIX_BYTES], position, len(records))
            if record.available < record.length:
                raise Damage("a record is cut off")
            content = records[record.content : record.end]
            position = record.end
            if record.opcode == Opcode.MESSAGE:
                message = message_of(content)
                if message.channel_id not in self._channels or not chunk.start_ns <= message.time_ns <= chunk.end_ns:
                    raise Damage("a message is of no known channel, or of a time outside its chunk's")
                yield message
            elif record.opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._learn(record.opcode, content)

    def _learn(self, opcode: int, content: bytes | memoryview) -> None:
        """Keep what a record tells; raises InputError where the names of a whole file are longer than its metadata may be."""
        fields = Fields(content)
        if opcode == Opcode.METADATA:
            if self._num_metadata_records < _MAX_METADATA_RECORDS and fields.text() == "rosbag2":
                self._num_metadata_records += 1
                values = Fields(fields.block())
                values.text()
                self.entries.update(entries_of(metadata_of(values.text())))
            return
        number = fields.number(2)
        if opcode == Opcode.SCHEMA and number not in self._schemas:
            self._schemas[number] = self._name_in(fields)
        elif opcode == Opcode.CHANNEL and number not in self._channels:
            schema = fields.number(2)
            topic, encoding = self._name_in(fields), self._name_in(fields)
            self._channels[number] = _Channel(topic, self._schemas.get(schema, "of an unknown type"), encoding)

    def _name_in(self, fields: Fields) -> str:
        """The next text, counted before it is taken out of its chunk: a packed chunk of little bytes can hold long ones."""
        name = fields.block()
        self._num_name_bytes += len(name)
        if self._num_name_bytes > MAX_METADATA_BYTES:
            raise InputError(
                f"'{self._path}' names topics and types in more than {MAX_METADATA_BYTES} bytes, which no recorder does: "
                "record the bag anew"
            )
        return text_of(name)

    def _resume_behind(self, place: int, damage: Damage) -> int | None:
        """Where the next chunk begins by the index; None without one."""
        following = bisect_right(self._chunk_offsets, place)
        resumed = self._chunk_offsets[following] if following < len(self._chunk_offsets) else None
        self._lose(place, str(damage) if resumed is None else f"{damage}; reading went on at byte {resumed}")
        return resumed

    def _lose(self, place: int, reason: str) -> None:
        self.losses.add(f"{self._name} is damaged at byte {place} of {self._size}: {reason}")

    def _num_messages(self) -> Counter[int]:
        """By channel: as the summary says, or where there is none by reading all."""
        try:
            return self._read_summary()
        except Damage as damage:
            if str(damage):
                self.losses.add(f"{self._name} has no index ({damage}): it was read from its beginning as far as it goes")
            self._chunk_offsets.clear()
            return self._scan()

    def _read_summary(self) -> Counter[int]:
        """Messages by channel as the summary says; raises Damage, with no words where the file never had a summary."""
        start, footer = self._summary_bounds()
        counts: Counter[int] | None = None
        metadata: list[int] = []
        position = start
        while position < footer:
            record = record_in(self._file, position, footer)
            position = record.end
            if record.opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._learn(record.opcode, content_of(self._file, record, MAX_METADATA_BYTES))
            elif record.opcode == Opcode.CHUNK_INDEX:
                self._chunk_offsets.append(Fields(content_of(self._file, record, MAX_METADATA_BYTES)[16:]).number(8))
            elif record.opcode == Opcode.METADATA_INDEX:
                metadata.append(Fields(content_of(self._file, record, MAX_METADATA_BYTES)).number(8))
            elif record.opcode == Opcode.STATISTICS:
                counts = self._statistics(content_of(self._file, record, MAX_METADATA_BYTES))
        if counts is None or not counts.keys() <= self._channels.keys():
            raise Damage("")
        self._chunk_offsets.sort()
        for offset in metadata:
            record = record_in(self._file, offset, self._size)
            if record.opcode == Opcode.METADATA:
                self._learn(record.opcode, content_of(self._file, record, MAX_METADATA_BYTES))
        return counts

    def _summary_bounds(self) -> tuple[int, int]:
        footer = self._size - FOOTER_BYTES
        self._file.seek(max(0, self._size - len(MAGIC)))
        if footer < len(MAGIC) or self._file.read() != MAGIC:
            raise Damage("its end is cut off")
        record = record_in(self._file, footer, self._size)
        if record.opcode != Opcode.FOOTER or record.length != 20:
            raise Damage("its footer is damaged")
        fields = Fields(content_of(self._file, record, 20))
        start, _, checksum = fields.number(8), fields.number(8), fields.number(4)
        if start == 0:
            raise Damage("")
        if not len(MAGIC) <= start <= footer:
            raise Damage("its place is wrong")
        if checksum and checksum != self._checksum(start, footer + FOOTER_BYTES - len(MAGIC) - 4):
            raise Damage("its checksum is wrong")
        return start, footer

    def _checksum(self, start: int, end: int) -> int:
        self._file.seek(start)
        checksum = 0
        while start < end:
            piece = self._file.read(min(_SUMMARY_PIECE_BYTES, end - start))
            checksum, start = crc32(piece, checksum), start + len(piece)
        return checksum

    def _statistics(self, content: bytes) -> Counter[int]:
        fields = Fields(content)
        fields.take(26)
        start_ns, end_ns = fields.number(8), fields.number(8)
        by_channel = Fields(fields.block())
        counts: Counter[int] = Counter()
        for _ in range(min(_MAX_CHANNELS, (len(content) - 46) // 10)):
            channel_id, num_messages = by_channel.number(2), by_channel.number(8)
            counts[channel_id] = num_messages
        if sum(counts.values()):
            self.start_ns, self.end_ns = start_ns, end_ns
        return counts

    def _scan(self) -> Counter[int]:
        """Messages by channel, counted by reading all of them."""
        counts: Counter[int] = Counter()
        for section in self._sections():
            for channel_id, time_ns, _ in self._messages_of(section):
                counts[channel_id] += 1
                self.start_ns = time_ns if self.start_ns is None else min(self.start_ns, time_ns)
                self.end_ns = time_ns if self.end_ns is None else max(self.end_ns, time_ns)
        return counts

    def _counted(self, counts: Counter[int]) -> list[BagTopic]:
        """The topics of ROS 2's messages; their lengths by channel."""
        return [
            BagTopic(channel.topic, channel.message_type, counts[number])
            for number, channel in sorted(self._channels.items())
            if channel.encoding == "cdr"
        ]
