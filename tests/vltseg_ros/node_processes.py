# SPDX-License-Identifier: Apache-2.0
"""Processes of a test, ended with it whatever happens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 10.0


@contextmanager
def processes(log: Path) -> Iterator[Callable[[Sequence[str]], subprocess.Popen[bytes]]]:
    """What starts a command in the project's folder; all that it prints is added to the log."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            started.append(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env={**os.environ}))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
