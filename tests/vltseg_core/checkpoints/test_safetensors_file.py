# SPDX-License-Identifier: Apache-2.0
"""A safetensors file is read as the library reads it; one whose header does not describe it is refused."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vltseg_core.checkpoints.safetensors_file import MAX_HEADER_BYTES, FormatError, opened

TENSORS = {
    "matrix": torch.arange(6, dtype=torch.float32).view(2, 3),
    "scalar": torch.tensor(7),
    "none": torch.zeros(0, 4),
    "half": torch.tensor([0.5, -2.0], dtype=torch.bfloat16),
    "flags": torch.tensor([True, False, True]),
}


def test_every_tensor_is_as_it_was_saved(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors", metadata={"key": "value"})
    with opened(tmp_path / "a.safetensors") as file:
        assert file.metadata == {"key": "value"} and set(file.tensors) == set(TENSORS)
        for name, tensor in TENSORS.items():
            found = file.read(name)
            assert found.dtype == tensor.dtype and found.shape == tensor.shape and torch.equal(found, tensor)


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


@pytest.mark.parametrize(
    "header",
    [
        [], 3, "x", {"a": 3}, {"a": {}}, {"__metadata__": 3},
        entry(dtype="C64"), entry(dtype=[]), entry(shape=[3]), entry(shape=[-2]), entry(shape=[2.0]), entry(shape=[True, 2]),
        entry(shape=[2**62, 4, 2]), entry(shape=[1] * 9 + [2]), entry(shape=3), entry(data_offsets=[8, 0]),
        entry(data_offsets=[4, 12]), entry(data_offsets=[0]), entry(data_offsets=["0", "8"]), entry(data_offsets=[-8, 0]),
        {**entry(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {**entry(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}},
    ],
)  # fmt: skip
def test_a_header_that_describes_no_tensors_is_refused(header: Any, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(FormatError, match="its header cannot be read"), opened(tmp_path / "a.safetensors"):
        pass


@pytest.mark.parametrize("num_bytes", [7, 9])
def test_a_file_of_another_length_than_its_header_says_is_refused(num_bytes: int, tmp_path: Path) -> None:
    text = json.dumps(entry()).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(num_bytes))
    with pytest.raises(FormatError, match="incomplete, or being written"), opened(tmp_path / "a.safetensors"):
        pass


def test_a_header_larger_than_any_network_s_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1))
    os.truncate(path, 2**40)  # of which the disk holds eight bytes
    with pytest.raises(FormatError, match="over the limit"), opened(path):
        pass
