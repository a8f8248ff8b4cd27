# SPDX-License-Identifier: Apache-2.0
"""Compiled engines kept on disk, each under everything that it depends on.

An engine file can run code when it is loaded, so only a folder that belongs to the user (or root), and that nobody else
can write to, is read; what does not fit its record to the last byte is not loaded.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vltseg_core.checkpoints.cache import cache_folder, make_folder
from vltseg_core.errors import DeviceError

ENGINE_FILE, RECORD_FILE = "engine.ep", "engine.json"
_PARTIAL = ".partial-"


class NoEngineError(DeviceError):
    """There is no engine that may be loaded: none, a stale, a damaged or a foreign one."""


@dataclass(frozen=True)
class EngineIdentity:
    """What an engine depends on. weights: SHA-256 of the weights file. versions: of software, GPU and driver, by name."""

    weights: str
    config: dict[str, Any]
    batch: int
    height: int
    width: int
    precision: str
    settings: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they come back from JSON."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), sort_keys=True))
        return fields

    @property
    def folder_name(self) -> str:
        """For people, made unique by a digest of everything."""
        digest = hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()
        name = re.sub(r"[^\w+-]", "_", str(self.config.get("name", "network")))[:64]
        return f"{name}_{self.batch}x{self.height}x{self.width}_{self.precision}_{digest[:16]}"


class EngineCache:
    """Engines in a folder of ours; folder: by default `engines` in the package's cache folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "engines"

    def find(self, identity: EngineIdentity) -> tuple[Path, dict[str, Any]]:
        """The engine file and what was noted when it was built.

        Raises NoEngineError where there is none, or one that is stale or damaged, DeviceError where the folder is not safe.
        """
        if self.folder.exists() or self.folder.is_symlink():
            require_private(self.folder)  # before anything in it is read
        entry = self.folder / identity.folder_name
        if not entry.is_dir():
            raise NoEngineError(f"no engine in '{self.folder}' for this network and machine{self._nearest(identity)}")
        for path in (self.folder, entry, entry / RECORD_FILE, entry / ENGINE_FILE):
            require_private(path)
        try:
            record = json.loads((entry / RECORD_FILE).read_text(encoding="utf-8"))
            expected, kept = record["sha256"], record["identity"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise NoEngineError(f"the engine in '{entry}' is damaged: its record cannot be read ({error})") from error
        if not isinstance(kept, dict):
            raise NoEngineError(f"the engine in '{entry}' is damaged: its record names no identity")
        if kept != identity.to_dict():
            raise NoEngineError(f"the engine in '{entry}' is another's: {_differences(kept, identity.to_dict())} differ")
        engine = entry / ENGINE_FILE
        if not engine.is_file() or file_digest(engine) != expected:
            raise NoEngineError(f"the engine in '{entry}' is damaged: the file is not the one that was written")
        return engine, record

    @contextmanager
    def building(self) -> Iterator[None]:
        """Nobody else builds meanwhile: who comes later waits, and then finds the engine. What builds that were killed left goes.

        Makes the folder; raises DeviceError where nothing that is kept there may be read.
        """
        make_folder(self.folder, mode=0o700)
        require_private(self.folder)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # ends with its process
            self._remove_partial()
            yield

    def keep(self, identity: EngineIdentity, notes: dict[str, Any], write: Callable[[Path], None]) -> Path:
        """Write an engine beside its place, then put it there, so that no half of one is ever found; its file.

        For whoever is `building`.
        """
        entry = self.folder / identity.folder_name
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self.folder))  # of mode 0700
        try:
            write(partial / ENGINE_FILE)
            (partial / ENGINE_FILE).chmod(0o600)
            record = {"identity": identity.to_dict(), "sha256": file_digest(partial / ENGINE_FILE), **notes}
            (partial / RECORD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
            (partial / RECORD_FILE).chmod(0o600)
            if entry.exists() or entry.is_symlink():
                os.replace(entry, partial.with_name(f"{partial.name}.old"))
            os.replace(partial, entry)
        finally:
            self._remove_partial()
        return entry / ENGINE_FILE

    def _remove_partial(self) -> None:
        """Whatever is being made, or was replaced; only for whoever holds the lock."""
        for left in self.folder.glob(f"{_PARTIAL}*"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def _nearest(self, identity: EngineIdentity) -> str:
        """What differs in the most similar engine, as a clause."""
        wanted, differing = identity.to_dict(), []
        for record in sorted(self.folder.glob(f"[!.]*/{RECORD_FILE}")):
            try:
                kept = json.loads(record.read_text(encoding="utf-8"))["identity"]
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
            if isinstance(kept, dict):
                differing.append(_differences(kept, wanted))
        return f" (the nearest was built for another: {min(differing, key=len)})" if differing else ""


def require_private(path: Path) -> None:
    """DeviceError unless a path and all folders above it can be changed by its user and root alone."""
    if path.is_symlink():
        raise DeviceError(f"'{path}' is a link, and an engine can run code: name the folder itself in engine_cache")
    if not path.exists():
        raise NoEngineError(f"the engine is damaged: '{path}' is missing")
    target = path.resolve()
    for place in (target, *target.parents, *path.absolute().parents):  # what links above it lead to, and where they lie
        status = place.lstat()
        is_link = stat.S_ISLNK(status.st_mode)  # its mode says nothing
        is_shared_folder = place != target and bool(status.st_mode & stat.S_ISVTX)  # as /tmp: names are their owners'
        is_open = status.st_mode & 0o022 and not is_link and not is_shared_folder
        if status.st_uid not in (os.getuid(), 0) or is_open:
            raise DeviceError(
                f"engines in '{path}' are not loaded: others can change '{place}', and an engine can run code; "
                f"'chown {os.getuid()}' and 'chmod go-w' it, or name another folder in engine_cache"
            )


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _differences(kept: dict[str, Any], wanted: dict[str, Any]) -> str:
    flat = [{**values, **_mapping(values.get("versions"))} for values in (kept, wanted)]
    keys = sorted((set(flat[0]) | set(flat[1])) - {"versions"})
    return ", ".join(key for key in keys if flat[0].get(key) != flat[1].get(key))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
