# SPDX-License-Identifier: Apache-2.0
"""An engine built in a process of its own, so that serving goes on undisturbed meanwhile."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading

from vltseg_core.errors import DeviceError
from vltseg_core.runtime.engine_backend import EngineRequest, Progress


class ChildBuild:
    """One build by `vltseg_core.runtime.build_engine`; `cancel` may come from another thread, before it or while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        return self._is_cancelled

    def run(self, request: EngineRequest, backend: str, source: str, progress: Progress) -> None:
        """Build a backend's engine of a checkpoint, named as on the command line; DeviceError with the last words if it fails."""
        batch, height, width = request.shape
        command = [sys.executable, "-m", "vltseg_core.runtime.build_engine", source, backend, str(request.device)]
        command += [request.precision, str(batch), str(height), str(width), str(request.cache.folder)]
        with tempfile.TemporaryFile("w+", errors="replace") as said:  # a pipe that nobody reads would block it
            with self._lock:
                if self._is_cancelled:
                    raise DeviceError("the build was cancelled")
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace"
                )  # its input ends with this process, and it with its input
            assert self._process.stdout is not None
            for line in self._process.stdout:
                progress(line.strip())
            code = self._process.wait()
            said.seek(0)
            words = said.read().strip()
        if self._is_cancelled:
            raise DeviceError("the build was cancelled")
        if code != 0:
            raise DeviceError(
                f"the {backend} engine could not be built: {words.splitlines()[-1] if words else f'exit code {code}'}"
            )

    def cancel(self) -> None:
        """End the process, if there is one, and start none."""
        with self._lock:
            self._is_cancelled = True
            if self._process is not None:
                self._process.kill()  # it cleans nothing up on SIGTERM either, which it may have inherited as ignored
