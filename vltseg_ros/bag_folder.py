# SPDX-License-Identifier: Apache-2.0
"""Finds a bag's storage files and what its metadata.yaml says of them, whole or damaged."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vltseg_core.errors import InputError
from vltseg_ros.bag_storage import MAX_METADATA_BYTES, Losses, entries_of, metadata_of
from vltseg_ros.mcap_records import zstd
from vltseg_ros.said_text import all_said, said

STORAGE_SUFFIXES = (".mcap", ".db3")
_PACKED_SUFFIX = ".zstd"
_PIECE_BYTES = 2**20
_LEAST_UNPACKED_BYTES = 2**30
_MOST_UNPACKED_TIMES = 100
_FREE_BYTES = 256 * 2**20  # left to the rest of the computer


@dataclass
class BagFiles:
    """A bag's storage files in order. counts: messages by topic as metadata.yaml says, empty without one."""

    files: list[Path]
    entries: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    packed_messages: bool = False
    losses: Losses = field(default_factory=Losses)


def find_files(path: Path) -> BagFiles:
    """The files of a bag's folder, or the one file given; raises InputError where there is none."""
    if not path.exists():
        raise InputError(f"'{path}' does not exist: give a bag's folder, .mcap or .db3 file")
    if not path.is_dir():
        return BagFiles([path])
    present = storage_files(path)
    metadata = path / "metadata.yaml"
    if not metadata.is_file() and not present:
        raise InputError(f"'{path}' is no rosbag2 bag (no metadata.yaml, no .mcap or .db3): give a bag's folder or file")
    found = BagFiles(present)
    if metadata.is_file():
        with metadata.open(encoding="utf-8", errors="replace") as file:
            _read_metadata(found, path, metadata_of(file.read(MAX_METADATA_BYTES)))
    else:
        found.losses.add("metadata.yaml is missing: topics and times were taken from the files themselves")
    if not found.files:
        raise InputError(f"the bag '{path}' has none of the files that its metadata.yaml names: copy them there")
    return found


def storage_files(folder: Path) -> list[Path]:
    """The storage files in a folder, split files in the order of their numbers."""
    files = [file for file in folder.iterdir() if file.suffix in STORAGE_SUFFIXES or is_packed(file)]
    return sorted(files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)])


def is_packed(file: Path) -> bool:
    """Whether rosbag2 compressed the storage file as a whole."""
    return file.suffix == _PACKED_SUFFIX and Path(file.stem).suffix in STORAGE_SUFFIXES


def most_unpacked_bytes(files: list[Path]) -> int:
    """So many bytes may the packed files of one bag have when they are unpacked."""
    packed_bytes = sum(file.stat().st_size for file in files if is_packed(file))
    return max(_LEAST_UNPACKED_BYTES, _MOST_UNPACKED_TIMES * packed_bytes)


def unpack(file: Path, folder: Path, losses: Losses, max_bytes: int) -> Path:
    """A storage file that rosbag2 compressed as a whole, unpacked into `folder` as far as it goes.

    Raises InputError, and leaves nothing there, for more than `max_bytes` and for more than the disk has room for.
    """
    target = folder / file.stem
    try:
        with zstd.open(file, "rb") as packed, target.open("wb") as unpacked:
            while piece := packed.read(_PIECE_BYTES):
                max_bytes -= len(piece)
                if max_bytes < 0:
                    raise InputError(
                        f"'{file}' unpacks to far more than a bag of its size: unpack it yourself (zstd -d) to use it"
                    )
                if shutil.disk_usage(folder).free < len(piece) + _FREE_BYTES:
                    raise InputError(f"'{file}' finds no room to be unpacked in '{folder.parent}': make room, or set TMPDIR")
                unpacked.write(piece)
    except (zstd.ZstdError, EOFError) as error:
        losses.add(f"{said(file.name)} is damaged ({error}): only its beginning can be read")
    except (InputError, OSError):
        target.unlink(missing_ok=True)
        raise
    return target


def _read_metadata(found: BagFiles, folder: Path, metadata: dict[str, Any]) -> None:
    try:
        named = [folder / name for name in dict.fromkeys(PurePosixPath(p).name for p in metadata["relative_file_paths"])]
        topics = metadata["topics_with_message_count"]
        found.counts = Counter({topic["topic_metadata"]["name"]: int(topic["message_count"]) for topic in topics})
        if not all(isinstance(name, str) for name in found.counts):
            raise TypeError("a topic's name is no text")
    except (KeyError, TypeError, ValueError, OverflowError):
        found.losses.add("metadata.yaml cannot be read: topics and times were taken from the files themselves")
        return
    found.entries = entries_of(metadata)
    mode = metadata.get("compression_mode")
    found.packed_messages = isinstance(mode, str) and mode.lower() == "message"
    missing = [file.name for file in named if not os.path.isfile(file)]
    if missing and len(missing) == len(named):
        others = all_said(file.name for file in found.files)
        found.losses.add(f"metadata.yaml names {all_said(missing)}, which are not there: {others} was read instead")
        return
    if missing:
        found.losses.add(f"files that metadata.yaml names are missing with all their messages: {all_said(missing)}")
    found.files = [file for file in named if os.path.isfile(file)]
