# SPDX-License-Identifier: Apache-2.0
"""The folder that a demo or an evaluation leaves behind: claimed so that nothing of the user's is ever overwritten."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO

from vltseg_core.errors import InputError

_MARKER = ".vltseg_demo"


class OutputFolder:
    """A folder of results; use it as a context manager, which holds it against other runs.

    A folder that does not exist is made, an empty one is taken. One that an earlier run left is taken over: the files
    of that run are removed, other files are kept. Raises InputError for any other folder, and for one in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> OutputFolder:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"'{self.path}' is a file: give another folder with -o")
        marker = self.path / _MARKER
        if self.path.is_dir() and not marker.exists() and any(self.path.iterdir()):
            raise InputError(f"'{self.path}' holds files that no demo made: give a new or empty folder with -o")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = marker.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(f"'{self.path}' is in use by another run: wait for it, or give another folder with -o") from error
        for folder in (self.input_bag, self.recording, self.result_bag, self.overlays):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.video, self.report, self.results, self.tables, self.node_log, self.finished):
            file.unlink(missing_ok=True)
        return self

    def forget_recording(self) -> None:
        """Remove the masks as they were recorded, once they are in the bag of results."""
        shutil.rmtree(self.recording)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
