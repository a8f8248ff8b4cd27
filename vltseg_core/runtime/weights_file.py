# SPDX-License-Identifier: Apache-2.0
"""Which weights file was read, so that no engine is built from, or kept under, another that took its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vltseg_core.errors import DeviceError
from vltseg_core.runtime.engine_cache import file_digest


@dataclass(frozen=True)
class WeightsFile:
    """A weights file as it was when its reading began. mark: what tells another file under that name."""

    path: Path
    mark: tuple[int, int, int]

    @classmethod
    def about_to_be_read(cls, path: Path) -> WeightsFile:
        """To be called before the file is opened."""
        return cls(path, _mark(path))

    def digest(self) -> str:
        """SHA-256 of what was read; DeviceError where the file is another one now."""
        digest = file_digest(self.path)
        if _mark(self.path) != self.mark:
            raise DeviceError(f"weights file '{self.path}' is not the one that was loaded any more: load it anew")
        return digest


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)  # who reads it says why that fails
    return status.st_ino, status.st_size, status.st_mtime_ns
