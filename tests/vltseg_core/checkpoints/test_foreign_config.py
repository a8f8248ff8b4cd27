# SPDX-License-Identifier: Apache-2.0
"""A weights file from a stranger can neither fill the memory nor reach beyond the network that it describes."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.foreign_config import check_config, expected_shapes
from vltseg_core.config import PRESETS, preset
from vltseg_core.errors import CheckpointError
from vltseg_core.model.vltseg import Vltseg


def foreign_file(path: Path, change: Callable[[dict[str, Any]], None], base: str = "tiny") -> Path:
    """A file of one small tensor, whose header describes `base` with a change."""
    config = preset(base).to_dict()
    change(config)
    header = {"format": native.FORMAT, "config": json.dumps(config), "trained_on": "unknown"}
    save_file({"weight": torch.zeros(2)}, path, metadata=header)
    return path


def put(section: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        (config[section] if section else config)[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("image_encoder", "model", "hf-hub:stranger/network"), "no plain name"),
        (put("image_encoder", "model", "local-dir:/etc"), "no plain name"),
        (put("image_encoder", "model", "../../network"), "no plain name"),
        (put("image_encoder", "model", ["a"]), "no plain name"),
        (put("image_encoder", "overrides", {"checkpoint_path": "/elsewhere/x.pth"}), "only numbers"),
        (put("image_encoder", "overrides", {"pretrained_cfg": {"url": "http://localhost"}}), "only numbers"),
        (put("mask_decoder", "num_queries", 10**12), "over the limit"),
        (put("mask_decoder", "num_layers", 10**6), "over the limit"),
        (put("pixel_decoder", "width", -(2**40)), "over the limit"),
        (put("image_encoder", "overrides", {"depth": 101}), "over the limit"),
        (put("", "crop_size", float("nan")), "over the limit"),
        (put("", "std", [0, 1, 1]), "zero"),
        (put("", "mean", [1, 2]), "three numbers"),
        (put("", "mean", "abc"), "three numbers"),
        (put("", "crop_size", 10**400), "over the limit"),
        (put("", "name", "../../../escape"), "no plain name"),
        (put("", "name", "/elsewhere/escape"), "no plain name"),
        (put("", "name", "a\n[ERROR] forged"), "no plain name"),
        (put("", "name", "n" * 300), "no plain name"),
        (put("", "name", 3), "no plain name"),
    ],
)
def test_a_header_that_reaches_too_far_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    path = foreign_file(tmp_path / "foreign.safetensors", change)
    for read in (native.load, native.read_header):
        with pytest.raises(CheckpointError, match=said):
            read(path)


@pytest.mark.parametrize(
    "change",
    [
        put("image_encoder", "overrides", {"pretrained": 1}),
        put("image_encoder", "model", "no_such_network"),
        put("image_encoder", "kind", "rnn"),
        put("mask_decoder", "num_heads", 7),
        put("mask_decoder", "num_heads", 0),
        put("pixel_decoder", "width", "wide"),
        put("pixel_decoder", "kind", 3),
    ],
)
def test_settings_without_sense_are_refused_in_words(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(CheckpointError, match="foreign.safetensors"):
        native.load(foreign_file(tmp_path / "foreign.safetensors", change))


def test_a_large_network_is_not_allocated_for_a_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def widen(config: dict[str, Any]) -> None:
        config["mask_decoder"] |= {"num_layers": 100, "ffn_width": 16384}

    path = foreign_file(tmp_path / "foreign.safetensors", widen, base="eva02_clip_l")
    devices = []
    built = Vltseg.__init__

    def watched(network: Vltseg, config: Any) -> None:
        devices.append(torch.empty(0).device.type)
        built(network, config)

    monkeypatch.setattr(Vltseg, "__init__", watched)
    with pytest.raises(CheckpointError, match="does not fit network"):
        native.load(path)
    assert devices == ["meta"]


def test_tables_that_no_file_holds_are_not_allocated_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swin's relative positions grow with the fourth power of its window, and are no part of the state dict."""

    def hide(config: dict[str, Any]) -> None:
        overrides = {"img_size": 1024, "window_size": 32}
        config["image_encoder"] |= {"model": "swin_tiny_patch4_window7_224", "overrides": overrides}

    path = foreign_file(tmp_path / "foreign.safetensors", hide)
    with pytest.raises(CheckpointError, match="MB of tables beside its weights"):
        native.load(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{}", "null", '"x"', '{"name": 1', "1" * 5000])
def test_a_header_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": native.FORMAT, "config": text})
    with pytest.raises(CheckpointError, match="cannot be read"):
        native.load(path)


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9, 100])
def test_a_header_length_beyond_the_file_allocates_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}" + bytes(20))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        native.load(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_passes_and_is_built_without_memory(name: str) -> None:
    check_config(PRESETS[name])
    assert len(expected_shapes(PRESETS[name])) > 100


def test_the_shapes_are_the_network_s() -> None:
    network = Vltseg(preset("tiny"))
    assert expected_shapes(preset("tiny")) == {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
