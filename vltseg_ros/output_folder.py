# SPDX-License-Identifier: Apache-2.0
"""Folders that the demo, an evaluation or a comparison leaves behind, claimed: nothing of the user's is ever overwritten."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from vltseg_core.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

_MARKER = ".vltseg_output"


class ClaimedFolder:
    """A folder to write into; use it as a context manager, which holds it against other runs.

    A folder that does not exist is made, an empty one is taken. One that an earlier run left is taken over: what this
    kind of run writes is removed, other files are kept. Raises InputError for any other folder, and for one in use.
    """

    def __init__(self, path: Path, written: Iterable[str]) -> None:
        """written: names of the files and folders that this kind of run writes."""
        self.path = path
        self._written = tuple(written)
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"'{self.path}' is a file: give another folder with -o")
        marker = self.path / _MARKER
        if self.path.is_dir() and not marker.exists() and any(self.path.iterdir()):
            raise InputError(f"'{self.path}' holds files that vltseg did not write: give a new or empty folder with -o")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = marker.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(f"'{self.path}' is in use by another run: wait for it, or give another folder with -o") from error
        for name in self._written:
            left = self.path / name
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class OutputFolder(ClaimedFolder):
    """What a replay leaves behind: results, report, overlays, video and bags."""

    def __init__(self, path: Path) -> None:
        self.input_bag = path / "input_bag"
        self.recording = path / "recording"
        self.result_bag = path / "result_bag"
        self.overlays = path / "overlays"
        self.video = path / "overlay.mp4"
        self.report = path / "report.html"
        self.results = path / "results.json"
        self.tables = path / "results.md"
        self.node_log = path / "node.log"
        self.finished = path / "finished.json"
        folders = (self.input_bag, self.recording, self.result_bag, self.overlays)
        files = (self.video, self.report, self.results, self.tables, self.node_log, self.finished)
        super().__init__(path, (written.name for written in (*folders, *files)))

    def forget_recording(self) -> None:
        """Remove the masks as they were recorded, once they are in the bag of results."""
        shutil.rmtree(self.recording)


class ComparisonFolder(ClaimedFolder):
    """What a comparison of two evaluations leaves behind; it may be an evaluation's own folder."""

    def __init__(self, path: Path) -> None:
        self.page = path / "compare.html"
        self.figures = path / "compare.json"
        self.tables = path / "compare.md"
        super().__init__(path, (written.name for written in (self.page, self.figures, self.tables)))
