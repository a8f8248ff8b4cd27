# SPDX-License-Identifier: Apache-2.0
"""The run-time network as a file for other run times: ONNX and torch.export's .pt2, each checked after it was written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from vltseg_core.errors import ConfigurationError
from vltseg_core.runtime.agreement import Agreement, require_agreement
from vltseg_core.runtime.onnxruntime_backend import OnnxRuntime, missing_package, onnx_model
from vltseg_core.runtime.run_time_network import NetworkShape, RunTimeNetwork, example_images, exported

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
    if missing := missing_package():
        raise ConfigurationError(missing)
    partial = path.with_name(f".partial.{path.name}")
    try:
        made = onnx_model(exported(network, shape, gather_sampling=gather_sampling))
        for key, value in description(network, shape).items():
            made.model.metadata_props[f"vltseg.{key}"] = value if isinstance(value, str) else json.dumps(value)
        made.save(str(partial), external_data=False)
        found = require_agreement(network, OnnxRuntime().load(partial, example_images(shape, network)), shape, precision="fp32")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return found
