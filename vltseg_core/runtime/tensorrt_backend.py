# SPDX-License-Identifier: Apache-2.0
"""Backend `tensorrt`: engines by torch_tensorrt.dynamo, for NVIDIA GPUs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vltseg_core.runtime.agreement import CompiledNetwork
from vltseg_core.runtime.device import as_current
from vltseg_core.runtime.nvidia_driver import driver_version


class TorchTensorrt:
    """torch_tensorrt 2.14, as an `EngineCompiler`. Its GridSample is reported wrong on some versions, hence sampling by index."""

    name, title, takes_batches, gather_sampling = "tensorrt", "TensorRT", True, True

    def unusable(self, device: torch.device, precision: str) -> str | None:
        """As the protocol says."""
        if device.type != "cuda":
            return "TensorRT needs an NVIDIA GPU"
        try:
            importlib.import_module("torch_tensorrt")
        except (ImportError, OSError) as error:
            return f"torch_tensorrt cannot be imported ({error}): pip install torch-tensorrt"
        return None

    def versions(self, device: torch.device) -> dict[str, str]:
        """As the protocol says."""
        capability = torch.cuda.get_device_capability(device)
        return {
            "GPU": torch.cuda.get_device_name(device),
            "capability": f"{capability[0]}.{capability[1]}",
            "driver": driver_version(),
            "torch_tensorrt": importlib.import_module("torch_tensorrt").__version__,
            "TensorRT": importlib.import_module("tensorrt").__version__,
        }

    def settings(self, precision: str) -> dict[str, Any]:
        """For `torch_tensorrt.dynamo.compile`. The module's own dtypes decide on the precision.

        Its own engine cache is off: the key holds neither weights nor versions. Attention masks are no causal ones. In fp16
        attention is taken apart and accumulated in fp32, else large transformers overflow.
        """
        return {
            "attn_bias_is_causal": False,
            "decompose_attention": True,
            "use_fp32_acc": precision == "fp16",
            "cache_built_engines": False,
            "reuse_cached_engines": False,
            "immutable_weights": True,
        }

    def compile(self, program: ExportedProgram, example: Tensor, settings: dict[str, Any]) -> Any:
        """As the protocol says."""
        dynamo = importlib.import_module("torch_tensorrt.dynamo")
        with as_current(example.device):
            return dynamo.compile(program, arg_inputs=[example], device=example.device, **settings)

    def left_out(self, module: Any) -> list[str]:
        """As the protocol says; torch_tensorrt names such a part of the module `_run_on_gpu_N`."""
        parts = [part for name, part in module.named_children() if "_run_on_gpu" in name]
        return sorted({str(node.target) for part in parts for node in part.graph.nodes if node.op == "call_function"})

    def save(self, module: Any, path: Path, example: Tensor) -> None:
        """As the protocol says."""
        importlib.import_module("torch_tensorrt").save(module, str(path), arg_inputs=[example])

    def load(self, path: Path, example: Tensor) -> CompiledNetwork:
        """As the protocol says; its CUDA graphs are on, recorded in three passes."""
        torch_tensorrt = importlib.import_module("torch_tensorrt")
        with as_current(example.device):
            module = torch_tensorrt.load(str(path)).module()
        torch_tensorrt.runtime.set_cudagraphs_mode(True)

        def network(images: Tensor) -> tuple[Tensor, ...]:
            with as_current(images.device):  # where it allocates its outputs
                return tuple(module(images))  # a list or a tuple

        for _ in range(3):
            network(example)
        return network
