# SPDX-License-Identifier: Apache-2.0
"""Writes and reads rosbag2 bags (mcap or sqlite3) by `rosbags`, with or without a ROS installation.

Times are nanoseconds: a message's time in the bag is when it was received (and is played), its header's stamp is
inside the message. Messages stay serialised (CDR) on the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

from vltseg_core.errors import InputError
from vltseg_ros.bag_messages import message_types

IMAGE_TOPIC = "/camera/image"
CAMERA_INFO_TOPIC = "/camera/camera_info"
GROUND_TRUTH_TOPIC = "/ground_truth/labels"
CONDITION_TOPIC = "/condition"
LABELS_TOPIC = "/semantic/labels"
OVERLAY_TOPIC = "/semantic/overlay/compressed"

_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_METADATA_VERSION: Literal[8] = 8  # the newest that Humble's rosbag2 reads: from 9 on the QoS is no longer text
_BAG_SUFFIXES = (".mcap", ".db3", ".bag")


class BagMessage(NamedTuple):
    """One message of a bag, serialised."""

    topic: str
    message_type: str
    time_ns: int
    cdr: bytes


class BagTopic(NamedTuple):
    """One topic of a bag."""

    name: str
    message_type: str
    num_messages: int


class BagWriter:
    """A new bag; use it as a context manager.

    An exception inside the `with` block leaves a complete, readable bag of what was written so far.
    path: folder of the bag, which must not exist yet. compressed: zstd chunks that every mcap reader opens (mcap only).
    """

    def __init__(self, path: Path, *, storage: Literal["mcap", "sqlite3"] = "mcap", compressed: bool = False) -> None:
        if path.exists():
            raise InputError(f"'{path}' exists already: give a bag a folder of its own")
        self._writer = Writer(path, version=_METADATA_VERSION, storage_plugin=_STORAGES[storage])
        if compressed and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[tuple[str, str], Connection] = {}
        self.num_messages = 0
        self._writer.open()

    def write(self, topic: str, message_type: str, time_ns: int, cdr: bytes) -> None:
        """Append one serialised message of a type that `bag_messages` knows."""
        connection = self._connections.get((topic, message_type))
        if connection is None:
            connection = self._writer.add_connection(topic, message_type, typestore=message_types())
            self._connections[topic, message_type] = connection
        self._writer.write(connection, time_ns, cdr)
        self.num_messages += 1

    def describe(self, entries: Mapping[str, str]) -> None:
        """Put key and value pairs into the bag's metadata (custom_data)."""
        for key, value in entries.items():
            self._writer.set_custom_data(key, value)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self._writer.close()
        except OSError:
            with contextlib.suppress(OSError):
                self._writer.abort()
            if error is None:
                raise


class BagReader:
    """A bag that exists; use it as a context manager.

    path: a bag's folder, or its .mcap or .db3 file. Raises InputError where that is no bag or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix == ".bag":
            raise InputError(f"'{path}' is a ROS 1 bag: convert it, rosbags-convert --src {path} --dst NEW_FOLDER")
        try:
            self._reader = Reader(path)
            self._reader.open()
        except FileNotFoundError as error:
            raise InputError(f"'{path}' is no rosbag2 bag (no metadata.yaml): give a bag's folder or file") from error
        except Exception as error:  # not swallowed: see `messages`
            raise InputError(f"'{path}' cannot be read as a bag ({_first_line(error)}): record it anew") from error

    @property
    def topics(self) -> list[BagTopic]:
        """Every topic, by name."""
        return [
            BagTopic(name, topic.msgtype or "several types", topic.msgcount)
            for name, topic in sorted(self._reader.topics.items())
        ]

    @property
    def entries(self) -> dict[str, str]:
        """The key and value pairs of the metadata (custom_data); empty for a bare storage file."""
        return dict(self._reader.storage.metadata.custom or {})

    @property
    def start_ns(self) -> int:
        """Time of the first message."""
        return self._reader.start_time

    @property
    def end_ns(self) -> int:
        """Time of the last message."""
        return max(self._reader.end_time - 1, self._reader.start_time)

    def messages(self, topics: Collection[str], stop_ns: int | None = None) -> Iterator[BagMessage]:
        """The messages of these topics before `stop_ns`, in the order of their times.

        Raises InputError at a damaged place.
        """
        connections = [connection for connection in self._reader.connections if connection.topic in topics]
        if not connections:
            return
        try:
            for connection, time_ns, cdr in self._reader.messages(connections, stop=stop_ns):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, cdr)
        except Exception as error:  # not swallowed: damaged bytes make rosbags raise whatever its storages raise
            raise InputError(f"'{self.path}' is damaged ({_first_line(error)}): record it anew") from error

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def is_bag(path: Path) -> bool:
    """Whether the path looks like a bag: a folder with a metadata.yaml, or a storage file."""
    return (path / "metadata.yaml").is_file() if path.is_dir() else path.suffix in _BAG_SUFFIXES


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
