# SPDX-License-Identifier: Apache-2.0
"""What a Zenodo record and the Hugging Face hub say of their files: address, size, checksum."""

from __future__ import annotations

import hashlib
import json
import string
import time
from typing import Any, NamedTuple

from vltseg_core.checkpoints.receive import WAITS_S, Pause, RequestError, check_url, received
from vltseg_core.errors import CheckpointError

_MAX_METADATA_BYTES = 4 << 20
_ALGORITHMS = ("md5", "sha1", "sha256", "sha384", "sha512")


class RemoteFile(NamedTuple):
    """A file that can be downloaded. digest: in lower-case hexadecimal digits, by `algorithm`, a name that hashlib knows."""

    name: str
    url: str
    size_bytes: int
    algorithm: str
    digest: str


class _Described(NamedTuple):
    """A file as it was described, unchecked."""

    url: Any
    size_bytes: Any
    checksum: Any


def record_file(record_url: str, name: str, *, pause: Pause = time.sleep) -> RemoteFile:
    """What a Zenodo record's own metadata says of one of its files.

    Raises CheckpointError where the record cannot be reached, cannot be understood, or has no such file.
    """
    record = _metadata(record_url, pause)
    try:
        files = {f["key"]: _Described(f["links"]["self"], f["size"], f["checksum"]) for f in record["files"]}
    except (KeyError, TypeError) as error:
        raise _not_understood(record_url, error) from error
    return _checked(files, name, record_url)


def hub_file(hub_url: str, repository: str, name: str, *, pause: Pause = time.sleep) -> tuple[RemoteFile, str]:
    """What the Hugging Face hub's metadata says of a file in a repository, and the repository's licence.

    Raises CheckpointError as `record_file` does.
    """
    metadata_url = f"{hub_url}/api/models/{repository}?blobs=true"
    metadata = _metadata(metadata_url, pause)
    try:
        files = {
            f["rfilename"]: _Described(
                f"{hub_url}/{repository}/resolve/main/{f['rfilename']}", f["lfs"]["size"], f"sha256:{f['lfs']['sha256']}"
            )
            for f in metadata["siblings"]
            if f.get("lfs")
        }
        licence = str((metadata.get("cardData") or {}).get("license", "unknown"))
    except (KeyError, TypeError, AttributeError) as error:
        raise _not_understood(metadata_url, error) from error
    return _checked(files, name, metadata_url), licence


def _metadata(url: str, pause: Pause) -> Any:
    check_url(url, url)
    num_failures = 0
    while True:
        try:
            return json.loads(_text(url))
        except RequestError as error:
            num_failures += 1
            if not error.passing or num_failures > len(WAITS_S):
                raise RequestError(
                    f"'{url}' cannot be {'reached' if error.offline else 'read'} ({error})", offline=error.offline
                ) from error
            pause(error.wait_s(num_failures))
        except (ValueError, RecursionError) as error:
            raise _not_understood(url, error) from error


def _text(url: str) -> bytes:
    text = b""
    for _, piece in received(url):
        text += piece
        if len(text) > _MAX_METADATA_BYTES:
            raise _not_understood(url, ValueError(f"more than {_MAX_METADATA_BYTES} bytes"))
    return text


def _not_understood(url: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"'{url}' gives no list of files ({error}): try again later")


def _checked(files: dict[str, _Described], name: str, named_by: str) -> RemoteFile:
    if name not in files:
        raise CheckpointError(f"'{named_by}' has no file '{name}', it has {', '.join(sorted(map(str, files))) or 'none'}")
    described = files[name]
    url = check_url(described.url, named_by)
    size_bytes = described.size_bytes
    if not isinstance(size_bytes, int) or size_bytes <= 0:
        raise CheckpointError(f"'{named_by}' gives '{name}' {size_bytes!r} bytes, expected a number above 0: try again later")
    algorithm, _, digest = str(described.checksum).lower().partition(":")
    if algorithm not in _ALGORITHMS:
        raise CheckpointError(
            f"'{named_by}' gives '{name}' a checksum of unknown kind '{algorithm}', expected one of {', '.join(_ALGORITHMS)}: "
            "it cannot be trusted"
        )
    num_digits = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size
    if len(digest) != num_digits or not set(digest) <= set(string.hexdigits):
        raise CheckpointError(
            f"'{named_by}' gives '{name}' the {algorithm} '{digest}', expected {num_digits} hexadecimal digits: "
            "it cannot be trusted"
        )
    return RemoteFile(name, url, size_bytes, algorithm, digest)
