# SPDX-License-Identifier: Apache-2.0
"""Weights survive the round trip; a file that does not fit is refused with what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vltseg_core.checkpoints import native
from vltseg_core.config import VltsegConfig, preset
from vltseg_core.errors import CheckpointError
from vltseg_core.model.vltseg import Vltseg


@pytest.fixture(scope="module")
def network() -> Vltseg:
    torch.manual_seed(0)
    return Vltseg(preset("tiny")).eval()


@pytest.fixture
def parts(network: Vltseg, tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor], dict[str, str]]:
    """A saved file, its tensors and its header."""
    path = tmp_path / "network.safetensors"
    native.save(network, path, trained_on="nothing")
    with safe_open(path, framework="pt") as weights:
        return path, {n: weights.get_tensor(n) for n in weights.keys()}, dict(weights.metadata())  # noqa: SIM118


def test_a_saved_network_computes_the_same(network: Vltseg, parts: tuple[Path, object, object]) -> None:
    restored = native.load(parts[0])
    assert restored.trained_on == "nothing" and restored.network.config == network.config
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, found = network(images).predictions[-1], restored.network(images).predictions[-1]
    assert torch.equal(expected.mask_logits, found.mask_logits)
    assert not list(parts[0].parent.glob(".*partial"))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found: give a .safetensors file"):
        native.load(tmp_path / "none.safetensors")


def test_a_truncated_file_is_refused(parts: tuple[Path, object, object]) -> None:
    path = parts[0]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        native.load(path)


def while_it_is_loaded(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Between the header's reading and the tensors', another process has its turn."""

    def built(config: VltsegConfig) -> Vltseg:
        happens()
        return Vltseg(config)

    monkeypatch.setattr(native, "Vltseg", built)


@pytest.mark.parametrize("num_bytes", [0, 100, 1_000_000])
def test_a_file_that_is_cut_while_it_is_loaded_is_refused(
    parts: tuple[Path, object, object], num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the end of the process, as reading a file that is mapped into memory would be."""
    while_it_is_loaded(monkeypatch, lambda: os.truncate(parts[0], num_bytes))
    with pytest.raises(CheckpointError, match="was written while it was read: load it again"):
        native.load(parts[0])


def test_a_file_that_is_written_over_while_it_is_loaded_is_refused(
    parts: tuple[Path, object, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = parts[0].read_bytes()
    os.utime(parts[0], ns=(0, 0))
    while_it_is_loaded(monkeypatch, lambda: parts[0].write_bytes(content[:-4] + bytes(4)))
    with pytest.raises(CheckpointError, match="was written while it was read: load it again"):
        native.load(parts[0])


def test_a_file_that_is_replaced_while_it_is_loaded_is_loaded_as_it_was(
    network: Vltseg, parts: tuple[Path, object, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = parts[0].with_name("other")
    other.write_bytes(b"other")
    while_it_is_loaded(monkeypatch, lambda: other.replace(parts[0]))
    restored = native.load(parts[0]).network.state_dict()
    assert all(torch.equal(restored[name], tensor) for name, tensor in network.state_dict().items())


def test_numbers_of_another_kind_are_refused(parts: tuple[Path, dict[str, torch.Tensor], dict[str, str]]) -> None:
    path, tensors, header = parts
    tensors["mask_decoder.output_norm.weight"] = tensors["mask_decoder.output_norm.weight"].to(torch.int8)
    save_file(tensors, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"mask_decoder.output_norm.weight is torch.int8, expected torch.float32"):
        native.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
@pytest.mark.parametrize("name", ["image_encoder.trunk.bn1.bias", "image_encoder.trunk.bn1.running_var", "class_embeddings"])
def test_numbers_that_are_not_finite_are_refused(
    parts: tuple[Path, dict[str, torch.Tensor], dict[str, str]], name: str, value: float
) -> None:
    """An infinite bias would vanish in a ReLU6 and change most labels without a word; 1e300 is infinite in float32."""
    path, tensors, header = parts
    tensors[name] = tensors[name].double()
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path, metadata=header)
    with pytest.raises(CheckpointError, match=rf"{name} holds values that are no finite numbers"):
        native.load(path)


def test_numbers_whose_sum_alone_is_not_finite_are_taken(
    parts: tuple[Path, dict[str, torch.Tensor], dict[str, str]],
) -> None:
    path, tensors, header = parts
    tensors["class_embeddings"].fill_(3e38)
    save_file(tensors, path, metadata=header)
    assert float(native.load(path).network.state_dict()["class_embeddings"].max()) > 2e38


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken(
    network: Vltseg, parts: tuple[Path, dict[str, torch.Tensor], dict[str, str]], dtype: torch.dtype
) -> None:
    path, tensors, header = parts
    save_file({n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}, path, metadata=header)
    weight = native.load(path).network.state_dict()["mask_decoder.output_norm.weight"]
    expected = network.state_dict()["mask_decoder.output_norm.weight"]
    assert weight.dtype == torch.float32 and torch.allclose(weight, expected, rtol=0.01)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="names no format at all in its header, expected vltseg/1"):
        native.load(tmp_path / "foreign.safetensors")


def test_a_missing_or_misshapen_tensor_is_named(parts: tuple[Path, dict[str, torch.Tensor], dict[str, str]]) -> None:
    path, tensors, header = parts
    del tensors["mask_decoder.output_norm.weight"]
    save_file(tensors, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"mask_decoder.output_norm.weight differ"):
        native.load(path)
    tensors["mask_decoder.output_norm.weight"] = torch.zeros(3)
    save_file(tensors, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"mask_decoder.output_norm.weight differ"):
        native.load(path)


def test_a_checkpoint_of_other_classes_is_refused(parts: tuple[Path, dict[str, torch.Tensor], dict[str, str]]) -> None:
    path, tensors, header = parts
    config = json.loads(header["config"]) | {"class_table": "camvid"}
    save_file(tensors, path, metadata=header | {"config": json.dumps(config)})
    with pytest.raises(CheckpointError, match="does not fit network 'tiny'"):
        native.load(path)


def test_a_folder_that_cannot_be_written_is_said(network: Vltseg, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be written"):
        native.save(network, tmp_path / "missing" / "network.safetensors", trained_on="nothing")
