# SPDX-License-Identifier: Apache-2.0
"""Writes rosbag2 bags (mcap or sqlite3) by `rosbags` and reads any, whole or damaged, with or without a ROS installation.

Times are nanoseconds: a message's time in the bag is when it was received (and is played), its header's stamp is
inside the message. Messages stay serialised (CDR) on the way.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Literal

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

from vltseg_core.errors import InputError
from vltseg_ros.bag_folder import STORAGE_SUFFIXES, find_files, is_packed, most_unpacked_bytes, storage_files, unpack
from vltseg_ros.bag_messages import message_types
from vltseg_ros.bag_storage import MAX_MESSAGE_BYTES, BagMessage, BagStorage, BagTopic
from vltseg_ros.held_signals import signals_held
from vltseg_ros.mcap_records import Damage, inflated, zstd
from vltseg_ros.mcap_storage import McapStorage
from vltseg_ros.said_text import said
from vltseg_ros.sqlite_storage import SqliteStorage

__all__ = ["BagMessage", "BagReader", "BagTopic", "BagWriter", "is_bag"]

IMAGE_TOPIC = "/camera/image"
CAMERA_INFO_TOPIC = "/camera/camera_info"
GROUND_TRUTH_TOPIC = "/ground_truth/labels"
CONDITION_TOPIC = "/condition"
SEQUENCE_TOPIC = "/sequence"
METADATA_TOPIC = "/bag_metadata"
LABELS_TOPIC = "/semantic/labels"
OVERLAY_TOPIC = "/semantic/overlay/compressed"
CONFIDENCE_TOPIC = "/semantic/confidence"

_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_METADATA_VERSION: Literal[8] = 8  # the newest that Humble's rosbag2 reads: from 9 on the QoS is no longer text
_STORAGE_READERS: dict[str, type[BagStorage]] = {".mcap": McapStorage, ".db3": SqliteStorage}


class BagWriter:
    """A new bag; use it as a context manager.

    An exception inside the `with` block leaves a complete, readable bag of what was written so far.
    path: folder of the bag, which must not exist yet. compressed: zstd chunks that every mcap reader opens (mcap only).
    """

    def __init__(self, path: Path, *, storage: Literal["mcap", "sqlite3"] = "mcap", compressed: bool = False) -> None:
        if path.exists():
            raise InputError(f"'{path}' exists already: give a bag a folder of its own")
        self.path = path
        self._writer = Writer(path, version=_METADATA_VERSION, storage_plugin=_STORAGES[storage])
        if compressed and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[tuple[str, str], Connection] = {}
        self.num_messages = 0
        self._writer.open()

    def write(self, topic: str, message_type: str, time_ns: int, cdr: bytes) -> None:
        """Append one serialised message of a type that `bag_messages` knows."""
        with signals_held():  # a record cut short would spoil those after it
            connection = self._connections.get((topic, message_type))
            if connection is None:
                connection = self._writer.add_connection(topic, message_type, typestore=message_types())
                self._connections[topic, message_type] = connection
            try:
                self._writer.write(connection, time_ns, cdr)
            except sqlite3.OperationalError as error:
                raise _as_os_error(error, self.path) from error
            self.num_messages += 1

    def describe(self, entries: Mapping[str, str]) -> None:
        """Put key and value pairs into the bag's metadata (custom_data)."""
        for key, value in entries.items():
            self._writer.set_custom_data(key, value)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with signals_held():
            try:
                self._writer.close()
            except (OSError, sqlite3.Error) as failure:
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._writer.abort()
                if error is None:
                    raise _as_os_error(failure, self.path) from failure


class BagReader:
    """A bag that exists, of which everything readable is read; use it as a context manager.

    path: a bag's folder, or its .mcap or .db3 file. losses: a sentence for each thing that could not be read; what is
    damaged among the messages is known when they have been read. Raises InputError where nothing can be read at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix == ".bag":
            raise InputError(f"'{path}' is a ROS 1 bag: convert it, rosbags-convert --src {path} --dst NEW_FOLDER")
        found = find_files(path)
        self._packed_messages = found.packed_messages
        self._losses = found.losses
        self._stack = ExitStack()
        try:
            self._storages = self._open(found.files)
        except BaseException:
            self._stack.close()
            raise
        self._counts = self._count(found.counts)
        self.entries = dict(found.entries)
        """The key and value pairs of the metadata (custom_data)."""
        for storage in self._storages:
            self.entries = storage.entries | self.entries

    @property
    def losses(self) -> list[str]:
        """What could not be read, so far."""
        return [*self._losses, *(loss for storage in self._storages for loss in storage.losses)]

    @property
    def topics(self) -> list[BagTopic]:
        """Every topic, by name."""
        types: dict[str, set[str]] = {}
        for storage in self._storages:
            for topic in storage.topics:
                types.setdefault(topic.name, set()).add(topic.message_type)
        return [
            BagTopic(name, next(iter(kinds)) if len(kinds) == 1 else "several types", self._counts[name])
            for name, kinds in sorted(types.items())
        ]

    @property
    def start_ns(self) -> int:
        """Time of the first message."""
        return min((storage.start_ns for storage in self._storages if storage.start_ns is not None), default=0)

    @property
    def end_ns(self) -> int:
        """Time of the last message."""
        return max((storage.end_ns for storage in self._storages if storage.end_ns is not None), default=0)

    def messages(self, topics: Collection[str], stop_ns: int | None = None) -> Iterator[BagMessage]:
        """The readable messages of these topics before `stop_ns`, in the order of their times."""
        num_read: Counter[str] = Counter()
        for storage in self._storages:
            for message in storage.messages(topics, stop_ns):
                if self._packed_messages:
                    try:
                        cdr = bytes(inflated([message.cdr], zstd.ZstdDecompressor(), MAX_MESSAGE_BYTES))
                    except Damage as damage:
                        self._losses.add(f"messages of {said(message.topic)} are damaged: {damage}")
                        continue
                    message = message._replace(cdr=cdr)
                num_read[message.topic] += 1
                yield message
        if stop_ns is None:
            for topic in sorted(set(topics) & self._counts.keys()):
                if num_read[topic] < self._counts[topic]:
                    missing = self._counts[topic] - num_read[topic]
                    self._losses.add(f"{said(topic)}: {missing} of {self._counts[topic]} messages could not be read")

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _open(self, files: list[Path]) -> list[BagStorage]:
        storages: list[BagStorage] = []
        refusals: list[InputError] = []
        room_bytes = most_unpacked_bytes(files)
        for file in files:
            kind = _STORAGE_READERS.get(Path(file.stem).suffix if is_packed(file) else file.suffix)
            if kind is None:
                raise InputError(f"'{file}' is no bag's file: give a bag's folder, .mcap or .db3 file")
            try:
                plain = file
                if is_packed(file):
                    folder = self._stack.enter_context(TemporaryDirectory(prefix="vltseg_bag_"))
                    plain = unpack(file, Path(folder), self._losses, room_bytes)
                    room_bytes -= plain.stat().st_size
                storages.append(kind(plain))
                self._stack.callback(storages[-1].close)
            except InputError as refusal:
                refusals.append(refusal)
                self._losses.add(str(refusal))
        if not storages:
            raise refusals[0]
        return storages

    def _count(self, by_metadata: Counter[str]) -> Counter[str]:
        """Messages by topic as the files say; where metadata.yaml says otherwise, that is a loss."""
        counts: Counter[str] = Counter()
        for storage in self._storages:
            for topic in storage.topics:
                counts[topic.name] += topic.num_messages
        for name in sorted(by_metadata):
            if by_metadata[name] != counts[name]:
                self._losses.add(
                    f"{said(name)}: metadata.yaml counts {said(str(by_metadata[name]))} messages, the files hold {counts[name]}"
                )
        return counts


def is_bag(path: Path) -> bool:
    """Whether the path looks like a bag: a folder with a metadata.yaml or storage files, or a storage file."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(storage_files(path))
    return path.suffix in (*STORAGE_SUFFIXES, ".bag")


def _as_os_error(error: Exception, path: Path) -> OSError:
    """What sqlite says of a disk as the operating system says it."""
    if isinstance(error, OSError):
        return error
    full = "full" in str(error)
    return OSError(errno.ENOSPC if full else errno.EIO, f"the bag cannot be written: {error}", str(path))
