# SPDX-License-Identifier: Apache-2.0
"""A weights file from a stranger can neither fill the memory nor reach beyond the network that it describes."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vltseg_core.checkpoints import foreign_config, native
from vltseg_core.checkpoints.foreign_config import check_config, expected_shapes
from vltseg_core.config import PRESETS, ImageEncoderConfig, preset, varied
from vltseg_core.errors import CheckpointError, ConfigurationError
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
        (put("image_encoder", "overrides", {"checkpoint_path": "/elsewhere/x.pth"}), "is none of depth"),
        (
            put("image_encoder", "overrides", {"pretrained_cfg": {"url": "http://localhost"}}),
            "is none of depth",
        ),
        (put("mask_decoder", "num_queries", 10**12), "from 1 to 16384"),
        (put("mask_decoder", "num_layers", 10**6), "from 1 to 100"),
        (put("pixel_decoder", "width", -(2**40)), "from 1 to 16384"),
        (put("image_encoder", "overrides", {"depth": 101}), "from 1 to 100"),
        (put("", "crop_size", float("nan")), "a whole number from 32"),
        (put("", "std", [0, 1, 1]), "std is 0, expected a number from 0.001"),
        (put("", "mean", [1, 2]), "three numbers"),
        (put("", "mean", "abc"), "three numbers"),
        (put("", "crop_size", 10**400), "a whole number from 32"),
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
        put("image_encoder", "model", "no_such_network"),
        put("image_encoder", "overrides", {"num_heads": 4}),  # which a convolutional tower has not
        put("image_encoder", "kind", "vit"),
    ],
)
def test_settings_that_make_no_network_are_refused_in_words(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(CheckpointError, match=r"foreign.safetensors.*cannot be built"):
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


def test_tables_that_no_file_holds_are_not_allocated_either() -> None:
    """Swin's relative positions grow with the fourth power of its window, and are no part of the state dict."""
    overrides = {"img_size": 1024, "window_size": 32}
    encoder = ImageEncoderConfig("conv", "swin_tiny_patch4_window7_224", overrides=overrides)
    with pytest.raises(ConfigurationError, match="MB of tables beside its weights"):
        expected_shapes(replace(preset("tiny"), image_encoder=encoder))


@pytest.mark.parametrize("key", ["depth_multiplier", "channel_multiplier", "img_size", "window_size", "pretrained", "k" * 1000])
def test_what_could_multiply_a_network_is_not_passed_on(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MobileNet of 16384 times the depth takes minutes even on the meta device."""

    def multiply(config: dict[str, Any]) -> None:
        config["image_encoder"] |= {"model": "mobilenetv2_100", "overrides": {key: 500}}

    monkeypatch.setattr(foreign_config, "Vltseg", lambda _: pytest.fail("it was built"))
    with pytest.raises(CheckpointError, match=f"override '{key[:5]}.* is none of depth") as refused:
        native.load(foreign_file(tmp_path / "foreign.safetensors", multiply))
    assert len(str(refused.value)) < 500


WITHOUT_SENSE: list[tuple[str, str, Any]] = [
    ("inference", "window_px", 1), ("inference", "window_px", -5), ("inference", "window_px", 64.5),
    ("inference", "window_px", "a"), ("inference", "window_px", True), ("inference", "window_step_px", 1),
    ("inference", "max_input_pixels", 1), ("inference", "max_input_pixels", -5), ("inference", "max_input_pixels", 1e6),
    ("inference", "max_input_pixels", 10**9),
    ("inference", "window_step_px", -1), ("inference", "window_step_px", 1e-9), ("inference", "antialias", "yes"),
    ("", "inference", None), ("", "inference", 3), ("", "crop_size", 0), ("", "crop_size", -320), ("", "crop_size", 64.0),
    ("", "std", [1e-300] * 3), ("", "std", [True] * 3), ("", "std", [-1, 1, 1]), ("", "std", [1, 1, float("inf")]),
    ("", "mean", [float("nan")] * 3), ("", "mean", [1, 2, 3, 4]), ("", "class_table", []), ("", "class_table", "x\n" * 1000),
    ("mask_decoder", "num_heads", 0), ("mask_decoder", "num_heads", -4), ("mask_decoder", "num_heads", 3),
    ("mask_decoder", "num_queries", 0), ("mask_decoder", "queries", "a" * 1000), ("mask_decoder", "num_layers", 0),
    ("pixel_decoder", "num_heads", 0), ("pixel_decoder", "width", 126), ("pixel_decoder", "num_groups", 0),
    ("pixel_decoder", "ffn_width", True), ("pixel_text", "temperature", 0), ("pixel_text", "temperature", float("inf")),
    ("pixel_text", "embedding_width", -384), ("image_encoder", "trained_size", 0), ("image_encoder", "drop_path", 2),
    ("image_encoder", "joint_embedding", 1), ("image_encoder", "tapped_blocks", [0.5]), ("image_encoder", "kind", "a" * 1000),
    ("image_encoder", "tapped_blocks", 3), ("image_encoder", "partial_patches", ["a"]), ("image_encoder", "overrides", 3),
    ("image_encoder", "overrides", {"bn_eps": float("nan")}), ("image_encoder", "overrides", {"bn_eps": True}),
    ("image_encoder", "overrides", {"bn_eps": -1}), ("image_encoder", "model", "a" * 200),
]  # fmt: skip


@pytest.mark.parametrize(("section", "key", "value"), WITHOUT_SENSE)
def test_settings_without_sense_are_refused_in_one_short_sentence(
    tmp_path: Path, section: str, key: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["inference"] |= {"window_px": 64}
        put(section, key, value)(config)

    path = foreign_file(tmp_path / "foreign.safetensors", change)
    monkeypatch.setattr(foreign_config, "Vltseg", lambda _: pytest.fail("it was built"))
    for read in (native.load, native.read_header):
        with pytest.raises(CheckpointError, match="foreign.safetensors") as refused:
            read(path)
        said = str(refused.value).removeprefix(f"checkpoint '{path}'")
        assert len(said) < 400 and said.isprintable()


@pytest.mark.parametrize(("window_px", "step_px"), [(0, 0), (32, 0), (512, 426), (1024, 768), (512, 128), (512, 512)])
def test_windows_in_use_pass(window_px: int, step_px: int) -> None:
    check_config(varied(preset("tiny"), {"inference": {"window_px": window_px, "window_step_px": step_px}}))


@pytest.mark.parametrize("text", ["[" * 60_000, "[]", "{}", "null", '"x"', '{"name": 1', "1" * 5000])
def test_a_header_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": native.FORMAT, "config": text})
    with pytest.raises(CheckpointError, match="cannot be read"):
        native.load(path)


@pytest.mark.parametrize("header", [{"config": "[" + "[]," * 200_000 + "[]]"}, {"trained_on": "a" * 200_000}])
def test_a_text_in_the_header_longer_than_any_network_s_is_not_taken_apart(tmp_path: Path, header: dict[str, str]) -> None:
    path = tmp_path / "foreign.safetensors"
    valid = {"config": json.dumps(preset("tiny").to_dict()), "format": native.FORMAT}
    save_file({"weight": torch.zeros(2)}, path, metadata=valid | header)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="letters of (config|trained_on) in its header") as refused:
        native.read_header(path)
    assert tracemalloc.get_traced_memory()[1] < 1e7 and len(str(refused.value)) < 300
    tracemalloc.stop()


@pytest.mark.parametrize(
    "config", ["[" + "[]," * 20_000 + "[]]", json.dumps({"k" * 60_000: 1}), json.dumps({"name": ["\n"] * 9_000})]
)
def test_what_a_sentence_repeats_of_a_header_is_short(tmp_path: Path, config: str) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": native.FORMAT, "config": config})
    with pytest.raises(CheckpointError, match="cannot be read") as refused:
        native.read_header(path)
    assert len(str(refused.value)) < 500 + len(str(path)) and str(refused.value).isprintable()


def test_long_names_of_tensors_and_formats_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    header = {"format": native.FORMAT, "config": json.dumps(preset("tiny").to_dict())}
    for metadata in (header, header | {"format": "\x1b[2J" + "f" * 100_000}):
        save_file({"\n" + "a" * 100_000: torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match="foreign.safetensors") as refused:
            native.load(path)
        assert len(str(refused.value)) < 600 + len(str(path)) and str(refused.value).isprintable()


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
