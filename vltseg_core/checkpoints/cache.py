# SPDX-License-Identifier: Apache-2.0
"""The folder of fetched weights and of what is counted once, and which licences were accepted there."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where fetched weights and class counts are kept: VLTSEG_CACHE, else vltseg in the user's cache folder."""
    if own := os.environ.get("VLTSEG_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vltseg"


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Make a folder of the cache, and those above it that are missing, writable by their owner alone whatever the umask is.

    An engine is read from no folder that others can write to. mode: of the folder itself.
    """
    for missing in [parent for parent in reversed(folder.parents) if not parent.exists()]:
        missing.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=mode, exist_ok=True)


def licence_accepted(folder: Path, licence: str) -> bool:
    """Whether that licence was accepted before."""
    record = folder / "licences_accepted"
    return record.is_file() and licence in record.read_text(encoding="utf-8").splitlines()


def accept_licence(folder: Path, licence: str) -> None:
    """Remember that the licence was accepted."""
    if not licence_accepted(folder, licence):
        make_folder(folder)
        with (folder / "licences_accepted").open("a", encoding="utf-8") as record:
            record.write(licence + "\n")
