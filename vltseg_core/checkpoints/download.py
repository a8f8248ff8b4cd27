# SPDX-License-Identifier: Apache-2.0
"""Files over HTTPS: resumed after a break, checked against size and checksum, never left half under their name."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vltseg_core.errors import CheckpointError

Progress = Callable[[int, int], None]
"""Gets the bytes there are so far and the bytes in all."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_MAX_TRIES_WITHOUT_PROGRESS = 3
_MAX_METADATA_BYTES = 4 << 20
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class RemoteFile(NamedTuple):
    """A file in a record. checksum: "algorithm:hexadecimal digest", as the record gives it."""

    name: str
    url: str
    size_bytes: int
    checksum: str


def record_file(record_url: str, name: str) -> RemoteFile:
    """What a Zenodo record's own metadata says of one of its files.

    Raises CheckpointError where the record cannot be reached, cannot be understood, or has no such file.
    """
    record = _metadata(record_url)
    try:
        files = {f["key"]: RemoteFile(f["key"], f["links"]["self"], int(f["size"]), str(f["checksum"])) for f in record["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise _not_understood(record_url, error) from error
    return _named(files, name, record_url)


def hub_file(hub_url: str, repository: str, name: str) -> tuple[RemoteFile, str]:
    """What the Hugging Face hub's metadata says of a file in a repository, and the repository's licence.

    Raises CheckpointError as `record_file` does.
    """
    metadata_url = f"{hub_url}/api/models/{repository}?blobs=true"
    metadata = _metadata(metadata_url)
    try:
        files = {
            f["rfilename"]: RemoteFile(
                f["rfilename"],
                f"{hub_url}/{repository}/resolve/main/{f['rfilename']}",
                int(f["lfs"]["size"]),
                f"sha256:{f['lfs']['sha256']}",
            )
            for f in metadata["siblings"]
            if f.get("lfs")
        }
        licence = str((metadata.get("cardData") or {}).get("license", "unknown"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_understood(metadata_url, error) from error
    return _named(files, name, metadata_url), licence


def _metadata(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            return json.loads(response.read(_MAX_METADATA_BYTES))
    except _NETWORK_ERRORS as error:
        raise CheckpointError(f"'{url}' cannot be reached ({error})") from error
    except ValueError as error:
        raise _not_understood(url, error) from error


def _not_understood(url: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"'{url}' gives no list of files ({error}): try again later")


def _named(files: dict[str, RemoteFile], name: str, url: str) -> RemoteFile:
    if name not in files:
        raise CheckpointError(f"'{url}' has no file '{name}', it has {', '.join(sorted(files)) or 'none'}")
    return files[name]


def download(remote: RemoteFile, path: Path, on_progress: Progress) -> None:
    """Fetch a file to `path`; what an earlier, broken download left beside it is gone on with.

    Raises CheckpointError where the connection fails for good, or what came has another size or checksum: it is deleted
    then, so that the next try begins anew.
    """
    partial = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    tries = 0
    while _size(partial) < remote.size_bytes:
        before = _size(partial)
        problem = _receive(remote, partial, on_progress)
        tries = 0 if _size(partial) > before else tries + 1
        if tries >= _MAX_TRIES_WITHOUT_PROGRESS:
            raise CheckpointError(
                f"'{remote.url}' broke off at {_size(partial)} of {remote.size_bytes} bytes ({problem}): run the command "
                "again, it goes on from there"
            )
    _check(remote, partial)
    os.replace(partial, path)


def _receive(remote: RemoteFile, partial: Path, on_progress: Progress) -> str:
    """Append what the server sends; what ended it, in words."""
    start = _size(partial)
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
            with partial.open("ab" if goes_on else "wb") as file:
                received = start if goes_on else 0
                while chunk := response.read(min(_CHUNK_BYTES, remote.size_bytes - received + 1)):
                    file.write(chunk)
                    received += len(chunk)
                    on_progress(received, remote.size_bytes)
                    if received > remote.size_bytes:
                        break
    except _NETWORK_ERRORS as error:
        return str(error) or type(error).__name__
    return "the server closed the connection"


def _check(remote: RemoteFile, partial: Path) -> None:
    algorithm, _, expected = remote.checksum.partition(":")
    if algorithm not in hashlib.algorithms_available:
        raise CheckpointError(f"'{remote.url}' has a checksum of unknown kind '{algorithm}': it cannot be trusted")
    with partial.open("rb") as file:
        digest = hashlib.new(algorithm)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    found_size = _size(partial)
    if found_size != remote.size_bytes or digest.hexdigest() != expected:
        partial.unlink()
        raise CheckpointError(
            f"'{remote.url}' gave {found_size} bytes with {algorithm} {digest.hexdigest()}, expected {remote.size_bytes} "
            f"with {expected}: deleted; run the command again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
