# SPDX-License-Identifier: Apache-2.0
"""A run's checkpoints on disk: the last and the one before it, never half a file, and how a damaged one is passed over."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from vltseg_core.errors import CheckpointError

_LAST, _PREVIOUS = "last.ckpt", "previous.ckpt"
_FULL_BYTES = 1 << 20


def last_checkpoint(output: Path) -> Path:
    """Where a run in that folder keeps its newest checkpoint."""
    return output / "checkpoints" / _LAST


def checkpoint_to_resume(output: Path) -> Path | None:
    """The newest whole checkpoint of a run, None where there never was one; says so if it is not the last.

    Raises CheckpointError where all are damaged.
    """
    damaged: list[Path] = []
    for path in (last_checkpoint(output), last_checkpoint(output).with_name(_PREVIOUS)):
        if path.is_file():
            if _is_whole(path):
                if damaged:
                    print(f"checkpoint '{damaged[0]}' is damaged: going on from the one before it, '{path}'")
                return path
            damaged.append(path)
    if damaged:
        raise CheckpointError(f"checkpoint '{damaged[0]}' is damaged and no other is left: start anew in another --output")
    return None


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


class DurableCheckpoints(CheckpointIO):
    """Writes beside the target, makes sure that it is on the disk, and renames; what was there before is kept as well."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Raises CheckpointError where the disk does not take it; the checkpoints that are there stay as they are."""
        del storage_options
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _keep_as_previous(target)
            os.replace(partial, target)
        except (OSError, RuntimeError) as error:  # torch's writer turns a failed write into a RuntimeError
            reason = _reason(error, target.parent)
            partial.unlink(missing_ok=True)
            if not reason:
                raise
            raise CheckpointError(
                f"checkpoint '{target}' could not be written ({reason}): make room on the disk, then go on with --resume"
            ) from error
        _sync_folder(target.parent)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Plain values and tensors; a checkpoint that holds code is refused, whatever `weights_only` asks for."""
        return dict(torch.load(path, map_location=map_location or "cpu", weights_only=True))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file if it is there."""
        Path(path).unlink(missing_ok=True)


def _reason(error: Exception, folder: Path) -> str:
    """Why the disk did not take it, empty where the error is none of the disk's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(folder).free < _FULL_BYTES else ""


def _keep_as_previous(target: Path) -> None:
    """By a second name first, so that at no time there is none; where the disk has no second names, by renaming."""
    if not target.exists():
        return
    second_name = target.with_name(f".{_PREVIOUS}.partial")
    second_name.unlink(missing_ok=True)
    try:
        os.link(target, second_name)
    except OSError:
        second_name = target
    os.replace(second_name, target.with_name(_PREVIOUS))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
