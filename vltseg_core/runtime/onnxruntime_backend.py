# SPDX-License-Identifier: Apache-2.0
"""Backend `onnxruntime`: engines that are ONNX files, run by ONNX Runtime on a CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vltseg_core.runtime.agreement import CompiledNetwork
from vltseg_core.runtime.run_time_network import EXPORTING, OUTPUT_NAMES

INPUT_NAME = "images"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class OnnxRuntime:
    """ONNX Runtime's CPU provider, as an `EngineCompiler`; as many threads as PyTorch has."""

    name, title, takes_batches, gather_sampling = "onnxruntime", "ONNX Runtime", False, False

    def unusable(self, device: torch.device, precision: str) -> str | None:
        """As the protocol says."""
        if device.type != "cpu":
            return f"it runs on the CPU here, and the network is on {device}: use device cpu, or backend tensorrt or compile"
        if precision != "fp32":
            return f"on a CPU it computes in fp32, and {precision} was asked for: use precision fp32, or backend compile"
        if missing := missing_package():
            return missing
        try:
            importlib.import_module("onnxruntime")
        except Exception as error:  # whatever a library for another machine raises
            return f"onnxruntime cannot be imported ({error}): install it anew"
        return None

    def versions(self, device: torch.device) -> dict[str, str]:
        """As the protocol says."""
        versions = {"onnxruntime": str(importlib.import_module("onnxruntime").__version__)}  # of whatever distribution it is
        for package in ("onnx", "onnxscript", "onnx-ir"):
            try:
                versions[package] = importlib.metadata.version(package)  # importing them takes seconds
            except importlib.metadata.PackageNotFoundError:
                versions[package] = "unknown"
        return versions

    def settings(self, precision: str) -> dict[str, Any]:
        """None: the graph is optimised for the machine whenever it is loaded."""
        return {}

    def compile(self, program: ExportedProgram, example: Tensor, settings: dict[str, Any]) -> Any:
        """As the protocol says."""
        return onnx_model(program)

    def left_out(self, module: Any) -> list[str]:
        """As the protocol says; what has no ONNX operator fails to compile."""
        return []

    def save(self, module: Any, path: Path, example: Tensor) -> None:
        """As the protocol says."""
        module.save(str(path), external_data=False)

    def load(self, path: Path, example: Tensor) -> CompiledNetwork:
        """As the protocol says. Its threads rest between two runs: beside them, PyTorch's and the node's own want the cores."""
        onnxruntime: Any = importlib.import_module("onnxruntime")

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> tuple[Tensor, ...]:
            try:
                outputs = session.run(None, {INPUT_NAME: images.contiguous().numpy()})
            except Exception as error:  # its own types are no RuntimeErrors, which is what a device's faults are told from
                raise RuntimeError(f"ONNX Runtime: {error}") from error
            return tuple(map(torch.from_numpy, outputs))

        run(example)  # makes its place in memory
        return run


def missing_package() -> str | None:
    """Which of the packages that ONNX needs are missing and how to get them, None where all are there."""
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]  # importing takes seconds
    return f"{' and '.join(missing)} not installed: pip install 'vltseg_ros[export]'" if missing else None


def onnx_model(program: ExportedProgram) -> Any:
    """An exported run-time network as torch.onnx's ONNXProgram: `INPUT_NAME` in, `OUTPUT_NAMES` out."""
    outputs = OUTPUT_NAMES[: len(program.graph_signature.user_outputs)]
    with EXPORTING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        program = program.run_decompositions({torch.ops.aten.where.self: _boolean_where})
        made = torch.onnx.export(program, dynamo=True, input_names=[INPUT_NAME], output_names=list(outputs), verbose=False)
    assert made is not None  # without a file name it gives the model
    return made


def _boolean_where(condition: Tensor, chosen: Tensor, other: Tensor) -> Any:
    """`where` between booleans by logic alone: onnxruntime has none for them. Others stay as they are."""
    if chosen.dtype != torch.bool or other.dtype != torch.bool:
        return NotImplemented
    return (condition & chosen) | (~condition & other)
