# SPDX-License-Identifier: Apache-2.0
"""Files over HTTPS: resumed after a break, checked against size and checksum, never left half under their name."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from vltseg_core.checkpoints.cache import make_folder
from vltseg_core.checkpoints.receive import WAITS_S, Pause, RequestError, received
from vltseg_core.checkpoints.remote_files import RemoteFile
from vltseg_core.errors import CheckpointError

Progress = Callable[[int, int], None]
"""Gets the bytes there are so far and the bytes in all."""

_CHUNK_BYTES = 1 << 20


def download(remote: RemoteFile, path: Path, on_progress: Progress, *, pause: Pause = time.sleep) -> None:
    """Fetch a file to `path`; what an earlier, broken download left beside it is gone on with.

    Raises CheckpointError where the connection fails for good, or what came has another size or checksum: it is deleted
    then, so that the next try begins anew.
    """
    partial = path.with_name(f"{path.name}.part")
    make_folder(path.parent)
    num_failures, furthest = 0, _size(partial)
    while _size(partial) < remote.size_bytes:
        try:
            _receive(remote, partial, on_progress)
        except RequestError as error:
            num_failures = 1 if _size(partial) > furthest else num_failures + 1
            furthest = max(furthest, _size(partial))
            if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink(missing_ok=True)  # to begin anew: going on would be refused for ever
            if num_failures > len(WAITS_S) or not error.passing:
                raise _broken_off(remote, _size(partial), error) from error
            pause(error.wait_s(num_failures))
    _check(remote, partial)
    os.replace(partial, path)


def _receive(remote: RemoteFile, partial: Path, on_progress: Progress) -> None:
    """Keep what the server sends, up to one byte too many; RequestError where that is not all."""
    for place, piece in received(remote.url, start=_size(partial)):
        with partial.open("ab" if place else "wb") as file:
            file.write(piece[: remote.size_bytes + 1 - place])
        on_progress(min(place + len(piece), remote.size_bytes), remote.size_bytes)
        if place + len(piece) > remote.size_bytes:
            break
    if _size(partial) < remote.size_bytes:
        raise RequestError("the server sends no more")


def _broken_off(remote: RemoteFile, size_bytes: int, error: RequestError) -> RequestError:
    advice = "run the command again, it goes on from there" if error.passing else "check the address"
    return RequestError(
        f"'{remote.url}' broke off at {size_bytes} of {remote.size_bytes} bytes ({error}): {advice}", offline=error.offline
    )


def _check(remote: RemoteFile, partial: Path) -> None:
    digest = hashlib.new(remote.algorithm, usedforsecurity=False)
    with partial.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    found_size = _size(partial)
    if found_size != remote.size_bytes or digest.hexdigest() != remote.digest:
        partial.unlink()
        raise CheckpointError(
            f"'{remote.url}' gave {found_size} bytes with {remote.algorithm} {digest.hexdigest()}, expected "
            f"{remote.size_bytes} with {remote.digest}: deleted; run the command again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
