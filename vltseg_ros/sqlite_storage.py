# SPDX-License-Identifier: Apache-2.0
"""Reads rosbag2's sqlite3 files, a damaged one row by row over the places that cannot be read."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from vltseg_core.errors import InputError
from vltseg_ros.bag_storage import (
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    BagMessage,
    BagTopic,
    Losses,
    entries_of,
    first_line,
    metadata_of,
)
from vltseg_ros.said_text import said

_SQLITE_MAGIC = b"SQLite format 3\0"
_NUM_SINGLE_STEPS = 64
"""So many rows are tried one by one behind a damaged one before the steps grow."""
_LAST_ROW = 2**62
_MAX_TOPICS = 2**16
_MAX_NAME_LETTERS = 2**12
_MAX_VALUE_BYTES = MAX_MESSAGE_BYTES + 2**20
_INTEGERS = " AND ".join(f"typeof({column}) = 'integer'" for column in ("id", "topic_id", "timestamp"))
_SOUND = f"{_INTEGERS} AND typeof(data) = 'blob' AND length(data) <= {MAX_MESSAGE_BYTES}"
_KEYS = f"SELECT id, topic_id, timestamp FROM messages WHERE {_SOUND}"
_DATA = f"SELECT data FROM messages WHERE {_SOUND} AND id = ?"
_TOPICS = f"""
    SELECT id, name, type FROM topics WHERE serialization_format = 'cdr' AND typeof(id) = 'integer'
    AND typeof(name) = 'text' AND length(name) <= {_MAX_NAME_LETTERS}
    AND typeof(type) = 'text' AND length(type) <= {_MAX_NAME_LETTERS} ORDER BY id LIMIT {_MAX_TOPICS}
"""
_METADATA = f"""
    SELECT metadata FROM metadata WHERE typeof(metadata) = 'text' AND length(metadata) <= {MAX_METADATA_BYTES}
    ORDER BY id DESC LIMIT 1
"""
_Row = tuple[int, int, int, bytes]


class SqliteStorage:
    """One sqlite3 file; a `BagStorage`."""

    def __init__(self, path: Path) -> None:
        self.losses = Losses()
        self.entries: dict[str, str] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._path = path
        with path.open("rb") as file:
            if file.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
                raise InputError(f"'{path}' is no sqlite3 file: give a bag's folder, .mcap or .db3 file")
        self._database = _open(path)
        try:
            self._topics = self._read_topics()
            self.topics = self._count()
        except InputError:
            self.close()
            raise
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self.close()
            raise InputError(f"'{path}' cannot be read as a bag ({first_line(error)}): its table of topics is lost") from error
        self.entries = self._read_entries()

    def messages(self, topics: Collection[str], stop_ns: int | None = None) -> Iterator[BagMessage]:
        """The readable messages of these topics before `stop_ns`, in the order of their times."""
        numbers = [number for number, (name, _) in self._topics.items() if name in topics]
        places = ",".join("?" * len(numbers))
        wanted = f"{_KEYS} AND topic_id IN ({places}) AND timestamp < ?"
        stop = 2**63 - 1 if stop_ns is None else stop_ns
        for _, number, time_ns, cdr in self._rows(wanted, (*numbers, stop)):
            yield BagMessage(*self._topics[number], time_ns, cdr)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _read_topics(self) -> dict[int, tuple[str, str]]:
        if not (self._is_plain("topics") and self._is_plain("messages")):
            raise InputError(f"'{self._path}' is no bag: it has no tables of topics and messages as rosbag2 makes them")
        return {number: (name, message_type) for number, name, message_type in self._database.execute(_TOPICS)}

    def _is_plain(self, table: str) -> bool:
        """Whether there is such a table and it holds what it gives.

        A view, a table of another module and a column that is generated can make any amount of bytes of nothing. None of
        the first two has a primary key, whatever the file says of them.
        """
        query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
        statements = [str(statement).upper() for (statement,) in self._database.execute(query, (table,))]
        columns = self._database.execute(f"PRAGMA table_xinfo({table})").fetchall()
        is_stored = all(hidden == 0 for *_, hidden in columns)
        keys = [name for _, name, _, _, _, key, _ in columns if key]
        return is_stored and keys == ["id"] and all(statement.startswith("CREATE TABLE") for statement in statements)

    def _read_entries(self) -> dict[str, str]:
        try:  # bags before ROS 2 Iron have no such table
            row = self._database.execute(_METADATA).fetchone() if self._is_plain("metadata") else None
        except sqlite3.Error:
            return {}
        return entries_of(metadata_of(row[0])) if row else {}

    def _count(self) -> list[BagTopic]:
        query = f"SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages WHERE {_SOUND} GROUP BY topic_id"
        counts: Counter[int] = Counter()
        times: list[int] = []
        try:
            for number, num_messages, first_ns, last_ns in self._database.execute(query).fetchall():
                counts[number] = num_messages
                times += (first_ns, last_ns)
        except sqlite3.DatabaseError:
            for _, number, time_ns, _ in self._rescued(_KEYS, (), set()):
                counts[number] += 1
                times = [min([*times[:1], time_ns]), max([*times[1:], time_ns])]
        if times:
            self.start_ns, self.end_ns = min(times), max(times)
        return [BagTopic(*topic, counts[number]) for number, topic in self._topics.items()]

    def _rows(self, query: str, values: tuple[int, ...]) -> Iterator[_Row]:
        """The rows by time; from a damaged place on by their numbers."""
        seen: set[int] = set()
        try:
            for keys in self._database.execute(f"{query} ORDER BY timestamp", values):
                row = self._with_data(keys)
                seen.add(row[0])
                yield row
        except sqlite3.DatabaseError:
            yield from self._rescued(query, values, seen)

    def _rescued(self, query: str, values: tuple[int, ...], seen: set[int]) -> Iterator[_Row]:
        """The rows by their numbers without those seen, over every one that cannot be read."""
        behind, num_failed = -1, 0
        while behind < _LAST_ROW:
            try:
                for keys in self._database.execute(f"{query} AND id > ? ORDER BY id", (*values, behind)):
                    row = self._with_data(keys)
                    behind, num_failed = row[0], 0
                    if row[0] not in seen and row[1] in self._topics:
                        yield row
                return
            except sqlite3.DatabaseError as error:
                self.losses.add(f"{said(self._path.name)} is damaged ({first_line(error)}): messages are missing")
                behind += 1 << max(0, num_failed - _NUM_SINGLE_STEPS)
                num_failed += 1

    def _with_data(self, keys: tuple[int, int, int]) -> _Row:
        """The row of a number: rows are sorted without their data, which memory may not hold."""
        found = self._database.execute(_DATA, keys[:1]).fetchone()
        if found is None:
            raise sqlite3.DatabaseError("the index names a row that is not there")
        return (*keys, found[0])


def _open(path: Path) -> sqlite3.Connection:
    unfinished = path.with_name(path.name + "-wal").exists()
    place = f"{path.resolve().as_uri()}?mode=ro{'' if unfinished else '&immutable=1'}"
    database = sqlite3.connect(place, uri=True, check_same_thread=False)
    # the file's own code is not run, and one shorter than it says is opened all the same
    for setting in ("trusted_schema = OFF", "writable_schema = ON", "cell_size_check = ON"):
        database.execute(f"PRAGMA {setting}")
    if sys.version_info >= (3, 11):
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    return database
