# SPDX-License-Identifier: Apache-2.0
"""Backend `compile`: torch.compile of the exported graph, and a CUDA graph of it on a GPU."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

import torch
from torch import Tensor

from vltseg_core.errors import DeviceError
from vltseg_core.runtime.agreement import CompiledNetwork, require_agreement
from vltseg_core.runtime.cuda_graph import CudaGraph
from vltseg_core.runtime.device import as_current
from vltseg_core.runtime.network_runner import ReadyBackend
from vltseg_core.runtime.run_time_network import NetworkShape, RunTimeNetwork, example_images, exported


@torch.inference_mode()
def build_compiled(network: RunTimeNetwork, shape: NetworkShape, *, precision: str, compiler: str = "inductor") -> ReadyBackend:
    """The network compiled and checked; compiler: of torch.compile. Raises DeviceError where it fails or is refused."""
    example = example_images(shape, network)
    try:
        with as_current(example.device), torch.inference_mode(False):
            graph = exported(network, shape).module()
        compiled = torch.compile(graph, dynamic=False, fullgraph=True, backend=compiler)
        ready = _on_its_device(lambda images: tuple(compiled(images)), example)
    except Exception as error:  # the compilers raise whatever they like; said with its cause, and nothing is hidden
        raise DeviceError(f"torch.compile failed ({_first_line(error)}): {_advice(error)}") from error
    found = require_agreement(network, ready, shape, precision=precision)
    return ReadyBackend("compile", f"compiled by {compiler} for {shape}, {found}", ready, shape)


def _on_its_device(compiled: CompiledNetwork, example: Tensor) -> CompiledNetwork:
    if example.is_cuda:
        return CudaGraph(compiled, example)
    compiled(example)
    return compiled


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__


def _advice(error: Exception) -> str:
    if "compiler" in str(error).lower() or "g++" in str(error):
        return "install a C++ compiler (sudo apt install g++), or use backend eager"
    return f"use backend eager, or clear its cache in {Path(gettempdir())}/torchinductor_*"
