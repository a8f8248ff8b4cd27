# SPDX-License-Identifier: Apache-2.0
"""The compilers of engines, by their backend's name."""

from __future__ import annotations

import torch

from vltseg_core.runtime.engine_backend import EngineCompiler
from vltseg_core.runtime.onnxruntime_backend import OnnxRuntime
from vltseg_core.runtime.tensorrt_backend import TorchTensorrt

ENGINE_BACKENDS = (TorchTensorrt.name, OnnxRuntime.name)


def engine_compiler(backend: str) -> EngineCompiler:
    """A compiler by one of ENGINE_BACKENDS."""
    return OnnxRuntime() if backend == OnnxRuntime.name else TorchTensorrt()


def best_engine_backend(device: torch.device) -> str:
    """The one of ENGINE_BACKENDS that suits a device."""
    return TorchTensorrt.name if device.type == "cuda" else OnnxRuntime.name
