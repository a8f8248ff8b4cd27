# SPDX-License-Identifier: Apache-2.0
"""What a storage file of a bag gives, whichever its format, and how much of it may enter memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from vltseg_core.errors import InputError
from vltseg_core.foreign_yaml import yaml_of

MAX_MESSAGE_BYTES = 128 * 2**20
"""Longer messages, and chunks of messages, are refused: a hostile file cannot fill the memory."""
MAX_METADATA_BYTES = 16 * 2**20
_MAX_LOSSES = 100


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


class Losses(list[str]):
    """Sentences of what could not be read, each once however often it is met; of very many the first."""

    def add(self, sentence: str) -> None:
        """Append it unless it is there."""
        if sentence in self or len(self) > _MAX_LOSSES:
            return
        self.append(sentence if len(self) < _MAX_LOSSES else f"there is more that could not be read than these {_MAX_LOSSES}")


class BagStorage(Protocol):
    """One storage file, of which everything readable is read.

    topics: what it says that it holds, or what was found. entries: key and value pairs of the metadata (custom_data).
    start_ns, end_ns: times of the first and the last message, None where there is none.
    losses: a sentence for each thing that cannot be read; it may grow while messages are read.
    """

    topics: list[BagTopic]
    entries: dict[str, str]
    start_ns: int | None
    end_ns: int | None
    losses: Losses

    def __init__(self, path: Path) -> None:
        """Open it; raises InputError where nothing can be read."""
        ...

    def messages(self, topics: Collection[str], stop_ns: int | None = None) -> Iterator[BagMessage]:
        """The readable messages of these topics before `stop_ns`, in the order of their times."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def metadata_of(text: str) -> dict[str, object]:
    """Rosbag2's metadata from its YAML, with or without the outer key; empty where it cannot be read."""
    try:
        metadata = yaml_of(text)
    except InputError:
        return {}
    if isinstance(metadata, dict):
        metadata = metadata.get("rosbag2_bagfile_information", metadata)
    return metadata if isinstance(metadata, dict) else {}


def entries_of(metadata: dict[str, object]) -> dict[str, str]:
    """The key and value pairs of the metadata (custom_data); a value of several parts is none.

    Such a value is passed over unread: by YAML's aliases a few bytes can stand for more than any memory holds.
    """
    entries = metadata.get("custom_data")
    if not isinstance(entries, dict):
        return {}
    return {str(key): str(value) for key, value in entries.items() if _is_scalar(key) and _is_scalar(value)}


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, bool, float)) or (isinstance(value, int) and value.bit_length() < 1024)


def first_line(error: Exception) -> str:
    """What an error says, in one line without what a damaged file put into it behind that."""
    return "".join(letter for letter in str(error).splitlines()[0] if letter.isprintable())[:200]
