# SPDX-License-Identifier: Apache-2.0
"""Writes a new bag beside its final place and moves it there when it is whole."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_contents import BagContents
from vltseg_ros.bag_frames import START_NS, Encoding, FrameWriter
from vltseg_ros.held_signals import HeldSignals, signals_held

Storage = Literal["mcap", "sqlite3"]
_STORAGE_OF_SUFFIX: dict[str, Storage] = {".mcap": "mcap", ".db3": "sqlite3"}


class MadeBag(NamedTuple):
    """A bag that was written.

    duration_s: from its first frame to its last. stopped_by: the signal that came before its end, 0 for none.
    """

    path: Path
    num_frames: int
    duration_s: float
    num_bytes: int
    stopped_by: int


def storage_for(output: Path, storage: Storage | None) -> Storage:
    """mcap unless asked otherwise; raises InputError where the output's suffix says something else, or it exists."""
    if output.exists():
        raise InputError(f"'{output}' exists already: give the bag another name with -o, or remove it")
    by_suffix = _STORAGE_OF_SUFFIX.get(output.suffix)
    if by_suffix and storage and by_suffix != storage:
        raise InputError(f"'{output}' is the name of {by_suffix}, and --storage says {storage}: leave one of them out")
    return storage or by_suffix or "mcap"


def make_bag(
    contents: BagContents,
    output: Path,
    *,
    storage: Storage | None = None,
    encoding: Encoding = "raw",
    on_frame: Callable[[], object] = lambda: None,
) -> MadeBag:
    """A bag of the contents: one file where `output` ends in .mcap or .db3, else a folder with metadata.yaml.

    The metadata lies in the bag's own (custom_data) and, so that it survives what cuts the bag's end off, as JSON in its
    first message. On Ctrl-C or SIGTERM `output` is a whole bag of what was written up to the frame under way. On a second
    one before that frame's end, and on any exception, nothing is left under its name. Files that cannot be read are no frames:
    signals wait until one is written.
    """
    chosen = storage_for(output, storage)
    output.parent.mkdir(parents=True, exist_ok=True)
    with signals_held() as signals:
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
        try:
            made = _write(contents, staging / output.stem, output, chosen, encoding, on_frame, signals)
            if made.num_frames == 0:
                raise InputError(f"no frame can be read: {contents.skipped[0] if contents.skipped else 'there is none'}")
            made = made._replace(num_bytes=_move(staging / output.stem, output))
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            signals.obey()  # one that came after the last frame, or beside a failure, changes nothing
        return made


def _write(
    contents: BagContents,
    folder: Path,
    output: Path,
    storage: Storage,
    encoding: Encoding,
    on_frame: Callable[[], object],
    signals: HeldSignals,
) -> MadeBag:
    num_frames, first_s, last_s, stopped_by = 0, 0.0, 0.0, 0
    # zstd chunks shrink the labels tenfold; raw pixels hardly, and they would cost time at replay
    with bags.BagWriter(folder, storage=storage, compressed=encoding != "raw") as writer:
        writer.describe(contents.entries)
        entries = bag_messages.string_message(json.dumps(contents.entries))
        writer.write(bags.METADATA_TOPIC, bag_messages.STRING_TYPE, START_NS, entries)
        frames = FrameWriter(writer, encoding)
        for frame in contents.frames():
            frames.write(frame)
            first_s, last_s = (first_s if num_frames else frame.time_s), frame.time_s
            num_frames += 1
            on_frame()
            if stopped_by := signals.obey():
                break
        writer.describe({"vltseg.num_skipped": str(len(contents.skipped)), **({"vltseg.stopped": "true"} if stopped_by else {})})
    return MadeBag(output, num_frames, last_s - first_s, 0, stopped_by)


def _move(folder: Path, output: Path) -> int:
    """Put the finished bag at its place; gives its bytes."""
    whole = next(path for path in folder.iterdir() if path.suffix in _STORAGE_OF_SUFFIX)
    num_bytes = whole.stat().st_size
    (whole if output.suffix in _STORAGE_OF_SUFFIX else folder).rename(output)
    return num_bytes
