# SPDX-License-Identifier: Apache-2.0
"""Stands in for Torch-TensorRT, which needs a GPU: engines are the names of exported graphs, which this process keeps."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vltseg_core.runtime.agreement import CompiledNetwork
from vltseg_core.runtime.tensorrt_backend import TorchTensorrt

_PROGRAMS: dict[str, Any] = {}


class StandInCompiler:
    """TensorRT to its callers; notes what it is given.

    is_wrong: its engines give the classes in another order. outside: operators it leaves out.
    """

    name, title, takes_batches, gather_sampling = "tensorrt", "TensorRT", True, True

    def __init__(
        self,
        *,
        why_unusable: str | None = None,
        is_wrong: bool = False,
        driver: str = "550.54",
        outside: tuple[str, ...] = (),
    ) -> None:
        self.why_unusable, self.is_wrong, self.driver, self.outside = why_unusable, is_wrong, driver, outside
        self.compiled: list[tuple[ExportedProgram, Tensor, dict[str, Any]]] = []
        self.loaded: list[Path] = []

    def unusable(self, device: torch.device, precision: str) -> str | None:
        return self.why_unusable

    def versions(self, device: torch.device) -> dict[str, str]:
        return {"GPU": "stand-in", "driver": self.driver, "TensorRT": "10.13"}

    def settings(self, precision: str) -> dict[str, Any]:
        return TorchTensorrt().settings(precision)

    def compile(self, program: ExportedProgram, example: Tensor, settings: dict[str, Any]) -> ExportedProgram:
        self.compiled.append((program, example, settings))
        return program

    def left_out(self, module: ExportedProgram) -> list[str]:
        return list(self.outside)

    def save(self, module: ExportedProgram, path: Path, example: Tensor) -> None:
        key = uuid.uuid4().hex
        _PROGRAMS[key] = module.module()
        path.write_text(key)

    def load(self, path: Path, example: Tensor) -> CompiledNetwork:
        self.loaded.append(path)
        module = _PROGRAMS[path.read_text()]

        def run(images: Tensor) -> tuple[Tensor, ...]:
            outputs = tuple(module(images))
            return tuple(-output for output in outputs) if self.is_wrong else outputs

        return run
