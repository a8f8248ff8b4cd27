# SPDX-License-Identifier: Apache-2.0
"""The run-time network as a file for other run times: ONNX and torch.export's .pt2, each checked after it was written."""

from __future__ import annotations

import importlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vltseg_core.errors import ConfigurationError
from vltseg_core.runtime.agreement import Agreement, CompiledNetwork, require_agreement
from vltseg_core.runtime.run_time_network import OUTPUT_NAMES, NetworkShape, RunTimeNetwork, exported

INPUT_NAME = "images"
DESCRIPTION_FILE = "vltseg.json"


def description(network: RunTimeNetwork, shape: NetworkShape) -> dict[str, Any]:
    """What a user of the file must know: input [B, 3, H, W] RGB as (value - mean) / std, and the classes by train id."""
    config = network.network.config
    return {
        "format": "vltseg export/1",
        "input": list(shape),
        "mean": list(config.mean),
        "std": list(config.std),
        "classes": list(config.classes.names),
        "config": config.to_dict(),
    }


def export_pt2(network: RunTimeNetwork, shape: NetworkShape, path: Path, *, gather_sampling: bool = False) -> Agreement:
    """Write a .pt2 for `torch.export.load`, read it again and compare it with the eager network; DeviceError where it differs."""
    partial = path.with_name(f".partial.{path.name}")
    try:
        program = exported(network, shape, gather_sampling=gather_sampling)
        torch.export.save(program, partial, extra_files={DESCRIPTION_FILE: json.dumps(description(network, shape))})
        module = torch.export.load(partial).module()
        found = require_agreement(network, lambda images: tuple(module(images)), shape, precision="fp32")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return found


def export_onnx(network: RunTimeNetwork, shape: NetworkShape, path: Path, *, gather_sampling: bool = False) -> Agreement:
    """Write an ONNX file, run it in onnxruntime and compare it with the eager network; DeviceError where it differs.

    Raises ConfigurationError where onnx, onnxscript or onnxruntime is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ConfigurationError(f"{package} is not installed: pip install 'vltseg_ros[export]'") from error
    partial = path.with_name(f".partial.{path.name}")
    outputs = OUTPUT_NAMES[: 1 if network.network.mask_decoder and network.network.mask_decoder.from_text else 2]
    if network.network.fpn_decoder is not None:
        outputs = OUTPUT_NAMES[:1]
    try:
        program = exported(network, shape, gather_sampling=gather_sampling)
        program = program.run_decompositions({torch.ops.aten.where.self: _boolean_where})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations
            made = torch.onnx.export(program, dynamo=True, input_names=[INPUT_NAME], output_names=list(outputs), verbose=False)
        assert made is not None  # without a file name it gives the model
        for key, value in description(network, shape).items():
            made.model.metadata_props[f"vltseg.{key}"] = value if isinstance(value, str) else json.dumps(value)
        made.save(str(partial), external_data=False)
        found = require_agreement(network, _onnx_network(partial), shape, precision="fp32")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return found


def _boolean_where(condition: Tensor, chosen: Tensor, other: Tensor) -> Any:
    """`where` between booleans by logic alone: onnxruntime has none for them. Others stay as they are."""
    if chosen.dtype != torch.bool or other.dtype != torch.bool:
        return NotImplemented
    return (condition & chosen) | (~condition & other)


def _onnx_network(path: Path) -> CompiledNetwork:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(output) for output in session.run(None, {INPUT_NAME: images.contiguous().numpy()}))

    return run
