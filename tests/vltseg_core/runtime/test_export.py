# SPDX-License-Identifier: Apache-2.0
"""Exported files say what the network says, in onnxruntime and by torch.export; both kinds of queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.vltseg_core.runtime.networks import run_time_network, small_config
from vltseg_core.checkpoints import native
from vltseg_core.errors import DeviceError
from vltseg_core.runtime import export
from vltseg_core.runtime.export import DESCRIPTION_FILE, export_onnx, export_pt2
from vltseg_core.runtime.gather_sampling import gather_sample
from vltseg_core.runtime.run_time_network import NetworkShape, RunTimeNetwork, example_images, exported
from vltseg_core.runtime.weights_path import WEIGHTS_FOLDER

SHAPE = NetworkShape(1, 64, 96)


@pytest.mark.parametrize("with_text_queries", [False, True])
def test_onnx_and_pt2_say_what_the_network_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_text_queries: bool) -> None:
    network = run_time_network(small_config(with_text_queries=with_text_queries))
    program = exported(network, SHAPE)
    monkeypatch.setattr(export, "exported", lambda *arguments, **options: program)  # once for both
    assert export_pt2(network, SHAPE, tmp_path / "net.pt2").equal_labels > 0.9999
    said: dict[str, Any] = {DESCRIPTION_FILE: ""}
    torch.export.load(tmp_path / "net.pt2", extra_files=said)
    assert json.loads(said[DESCRIPTION_FILE])["classes"][0] == "road"
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert export_onnx(network, SHAPE, tmp_path / "net.onnx").equal_labels > 0.9999
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    names = [output.name for output in session.get_outputs()]
    assert names == ["mask_logits", "class_logits"][: 1 if with_text_queries else 2]
    assert json.loads(session.get_modelmeta().custom_metadata_map["vltseg.input"]) == [1, 64, 96]


def test_a_file_that_differs_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise DeviceError("the compiled network was refused")

    monkeypatch.setattr(export, "require_agreement", refuse)
    with pytest.raises(DeviceError, match="refused"):
        export_pt2(run_time_network(small_config()), SHAPE, tmp_path / "net.pt2")
    assert list(tmp_path.iterdir()) == []


def test_sampling_by_index_is_grid_sample() -> None:
    feature_map = torch.randn(2, 5, 7, 11, generator=torch.Generator().manual_seed(0))
    grid = torch.rand(2, 9, 4, 2, generator=torch.Generator().manual_seed(1)) * 3 - 1.5  # some of it outside
    expected = F.grid_sample(feature_map, grid, align_corners=False)
    torch.testing.assert_close(gather_sample(feature_map, grid), expected, rtol=1e-5, atol=1e-5)


def test_a_place_that_is_no_number_is_sampled_as_no_number() -> None:
    grid = torch.tensor([[[[float("nan"), 0.0], [0.0, 0.0]]]])
    sampled = gather_sample(torch.rand(1, 2, 3, 4), grid)
    assert bool(sampled[..., 0].isnan().all()) and bool(sampled[..., 1].isfinite().all())


@torch.no_grad()
def test_an_image_of_odd_sides_is_exported_as_it_is_computed() -> None:
    network = RunTimeNetwork(native.load(WEIGHTS_FOLDER / "tiny.safetensors").network.eval())
    shape = NetworkShape(1, 75, 101)
    images = example_images(shape, network)
    found, expected = exported(network, shape).module()(images)[0], network(images)[0]
    assert found.shape == expected.shape == (1, 19, 19, 26)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
