# SPDX-License-Identifier: Apache-2.0
"""Safetensors files read by plain reads, tensor by tensor.

The library maps a file into memory, where a file that is cut short by another process ends this one (SIGBUS).
Format: https://huggingface.co/docs/safetensors, eight bytes of the header's length, the header in JSON, the numbers.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

MAX_HEADER_BYTES = 2 * 2**20
"""The largest network's header has 0.2 MB."""
_MAX_DIMENSIONS = 8
_LENGTH_BYTES = 8
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class FormatError(Exception):
    """Bytes that are no safetensors file, in words."""


class ChangedFileError(Exception):
    """A file that another process wrote while it was read."""


class StoredTensor(NamedTuple):
    """What the header says of a tensor. start: its first byte in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def num_bytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class SafetensorsFile:
    """An open file, its header read and found to describe all of it."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, StoredTensor]
    _file: BinaryIO

    def read(self, name: str) -> Tensor:
        """That tensor in memory of its own; ChangedFileError where the file ends before it."""
        stored = self.tensors[name]
        content = torch.empty(stored.num_bytes, dtype=torch.uint8)
        self._file.seek(stored.start)
        if self._file.readinto(content.numpy()) < stored.num_bytes:  # type: ignore[attr-defined]  # a buffered reader
            raise ChangedFileError
        return content.view(stored.dtype).view(stored.shape)


@contextmanager
def opened(path: Path) -> Iterator[SafetensorsFile]:
    """The file, open for the block.

    Raises OSError, FormatError, or, latest at the block's end, ChangedFileError: what was read is worth nothing then.
    """
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        yield _described(file, before.st_size)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ChangedFileError


def _described(file: BinaryIO, file_bytes: int) -> SafetensorsFile:
    header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    data_start = _LENGTH_BYTES + header_bytes
    if not 0 < header_bytes <= file_bytes - _LENGTH_BYTES:
        raise FormatError("it is empty, cut short, or another format")
    if header_bytes > MAX_HEADER_BYTES:
        raise FormatError(f"its header has {header_bytes} bytes, over the limit of {MAX_HEADER_BYTES}")
    try:
        entries: dict[str, Any] = json.loads(file.read(header_bytes).decode("utf-8"))
        metadata = {key: str(value) for key, value in entries.pop("__metadata__", {}).items()}
        tensors = _tensors(entries, data_start)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise FormatError("its header cannot be read") from error
    end = max((t.start + t.num_bytes for t in tensors.values()), default=data_start)
    if end != file_bytes:
        raise FormatError(f"its header describes {end} bytes, it has {file_bytes}: incomplete, or being written")
    return SafetensorsFile(metadata, tensors, file)


def _tensors(entries: Mapping[str, Any], data_start: int) -> dict[str, StoredTensor]:
    """Their entries, in the order of their bytes, which follow each other without gap or overlap; ValueError otherwise."""
    tensors: dict[str, StoredTensor] = {}
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: list(item[1]["data_offsets"])):
        shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
        if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, start, end)):
            raise ValueError(name)
        tensors[name] = StoredTensor(_DTYPES[entry["dtype"]], shape, data_start + start)
        if start != place or end - start != tensors[name].num_bytes:
            raise ValueError(name)
        place = end
    return tensors
