# SPDX-License-Identifier: Apache-2.0
"""Runs a ROS 2 node as a process of its own: starts it, ends it, and tells its last words when it fails."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from vltseg_core.errors import VltsegError

SEGMENTATION_NODE = (sys.executable, "-m", "vltseg_ros.segmentation_node")
_PR_SET_PDEATHSIG = 1
_LOG_PREFIX = re.compile(r"^(?:\x1b\[\d+m)?\[(?P<level>[A-Z]+)\] \[[\d.]+\] \[[^\]]*\]: (?P<text>.*?)(?:\x1b\[\d+m)?$")


class NodeError(VltsegError):
    """A node that did not start, did not answer, or ended before its time."""


class NodeProcess:
    """A node's process; use it as a context manager, which ends the node.

    command: program and its arguments, before ROS's own. log_path: file that gets all that the node prints.
    params_file: YAML file with more parameters; `parameters` go over it.
    The node gets a session of its own, so that a terminal's Ctrl-C reaches only us, who then end it in order; and the
    kernel ends it should we be killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        namespace: str,
        parameters: Mapping[str, object],
        log_path: Path,
        params_file: Path | None = None,
    ) -> None:
        self.full_name = f"{namespace}/{name}"
        self._log_path = log_path
        arguments = ["--ros-args", "-r", f"__node:={name}", "-r", f"__ns:={namespace}"]
        if params_file is not None:
            arguments += ["--params-file", str(params_file)]
        for key, value in parameters.items():
            arguments += ["-p", f"{key}:={json.dumps(value)}"]
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0"},
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the node runs."""
        return self._process.poll()

    def require_running(self) -> None:
        """Raise NodeError with the node's last words if it has ended."""
        code = self.exit_code
        if code is not None:
            raise NodeError(f"the node ended with exit code {code}: {self.last_words()}")

    def last_error(self) -> str | None:
        """The text of the last line logged as ERROR or FATAL, if any."""
        return self._last_logged("ERROR", "FATAL")

    def last_words(self) -> str:
        """What went wrong, as well as it is known: the last error, else the last warning, else the last line."""
        lines = [line.strip() for line in self._log_lines() if line.strip()]
        return self.last_error() or self._last_logged("WARN") or (lines[-1] if lines else "it printed nothing")

    def stop(self, patience_s: float = 5.0) -> int:
        """End the node: SIGINT, then SIGTERM, then SIGKILL, each after `patience_s`; gives the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        return self._process.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _last_logged(self, *levels: str) -> str | None:
        entries = [_LOG_PREFIX.match(line) for line in self._log_lines()]
        texts = [entry["text"] for entry in entries if entry and entry["level"] in levels]
        return texts[-1] if texts else None

    def _log_lines(self) -> list[str]:
        return self._log_path.read_text("utf-8", errors="replace").splitlines()


def _end_with_parent() -> Callable[[], None]:
    """What the child does before it becomes the node: ask the kernel for SIGTERM when its parent ends, and hear signals.

    A parent may have blocked them, as Ray's workers have SIGINT, and children inherit that.
    """
    library = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return ask
