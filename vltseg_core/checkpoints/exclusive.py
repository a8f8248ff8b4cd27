# SPDX-License-Identifier: Apache-2.0
"""One process at a time makes a file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vltseg_core.checkpoints.cache import make_folder
from vltseg_core.errors import CheckpointError


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Nobody else makes `path` meanwhile; CheckpointError where somebody does already. A lock ends with its process."""
    lock = path.with_name(f".{path.name}.lock")
    make_folder(lock.parent)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = os.fstat(file.fileno()).st_nlink > 0  # else its holder has just deleted it: a third may hold a new one
        except BlockingIOError:
            is_held = False
        if not is_held:
            raise CheckpointError(f"'{path}' is being fetched by another vltseg: wait for its end and run the command again")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
