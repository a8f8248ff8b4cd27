# SPDX-License-Identifier: Apache-2.0
"""Backend `tensorrt`: torch.export, torch_tensorrt.dynamo, and an engine file that is built once for a machine."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.export import ExportedProgram

import vltseg_core
from vltseg_core.errors import DeviceError
from vltseg_core.runtime.agreement import CompiledNetwork, require_agreement
from vltseg_core.runtime.engine_cache import EngineCache, EngineIdentity, NoEngineError, file_digest
from vltseg_core.runtime.network_runner import ReadyBackend
from vltseg_core.runtime.nvidia_driver import driver_version
from vltseg_core.runtime.run_time_network import GRAPH_REVISION, NetworkShape, RunTimeNetwork, example_images, exported

Progress = Callable[[str], None]
"""Told of each step in a few words."""


class EngineCompiler(Protocol):
    """What makes, saves and loads engines: `TorchTensorrt`, or what stands in for it in a test."""

    def unusable(self, device: torch.device) -> str | None:
        """Why it cannot be used there, in a clause, or None."""

    def versions(self, device: torch.device) -> dict[str, str]:
        """Of all that an engine depends on besides the network."""

    def compile(self, program: ExportedProgram, example: Tensor, settings: dict[str, Any]) -> Any:
        """The compiled module."""

    def left_out(self, module: Any) -> list[str]:
        """Operators of a compiled module that PyTorch runs, not TensorRT."""

    def save(self, module: Any, path: Path, example: Tensor) -> None:
        """Write it to a file."""

    def load(self, path: Path, example: Tensor) -> CompiledNetwork:
        """What `save` wrote, ready to run."""


class TorchTensorrt:
    """torch_tensorrt 2.14."""

    def unusable(self, device: torch.device) -> str | None:
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

    def compile(self, program: ExportedProgram, example: Tensor, settings: dict[str, Any]) -> Any:
        """As the protocol says."""
        dynamo = importlib.import_module("torch_tensorrt.dynamo")
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
        module = torch_tensorrt.load(str(path)).module()
        torch_tensorrt.runtime.set_cudagraphs_mode(True)
        network: CompiledNetwork = lambda images: tuple(module(images))  # noqa: E731  # the module gives a list or a tuple
        for _ in range(3):
            network(example)
        return network


def compile_settings(precision: str) -> dict[str, Any]:
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


@dataclass(frozen=True)
class WeightsFile:
    """A weights file as it was when its reading began. mark: what tells another file under that name."""

    path: Path
    mark: tuple[int, int, int]

    @classmethod
    def about_to_be_read(cls, path: Path) -> WeightsFile:
        """To be called before the file is opened."""
        return cls(path, _mark(path))

    def digest(self) -> str:
        """SHA-256 of what was read; DeviceError where the file is another one now."""
        digest = file_digest(self.path)
        if _mark(self.path) != self.mark:
            raise DeviceError(f"weights file '{self.path}' is not the one that was loaded any more: load it anew")
        return digest


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)  # who reads it says why that fails
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class EngineRequest:
    """Which engine: for which network, of which weights file, in which precision, for which images, kept where.

    gather_sampling: sampling by index in place of TensorRT's GridSample.
    """

    network: RunTimeNetwork
    weights: WeightsFile
    config: dict[str, Any]
    precision: str
    shape: NetworkShape
    cache: EngineCache
    gather_sampling: bool = True

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    def identity(self, compiler: EngineCompiler) -> EngineIdentity:
        """Everything that the engine depends on."""
        versions = {"vltseg": vltseg_core.__version__, "torch": torch.__version__, **compiler.versions(self.device)}
        settings = {**compile_settings(self.precision), "gather_sampling": self.gather_sampling, "graph": GRAPH_REVISION}
        return EngineIdentity(self.weights.digest(), self.config, *self.shape, self.precision, settings, versions)


def load_engine(request: EngineRequest, compiler: EngineCompiler) -> ReadyBackend:
    """The kept engine; raises NoEngineError where there is none that may be loaded, DeviceError where it does not load."""
    path, record = request.cache.find(request.identity(compiler))
    example = example_images(request.shape, request.network)
    try:
        network = compiler.load(path, example)
    except Exception as error:
        raise DeviceError(f"the engine '{path}' does not load ({error}): delete its folder, or build it again") from error
    reason = f"engine for {request.shape} of {record.get('built', 'unknown date')}, {record.get('agreement', 'unchecked')}"
    if left_out := record.get("outside TensorRT"):
        reason += f", outside TensorRT: {left_out}"
    return ReadyBackend("tensorrt", reason, network, request.shape)


def build_engine(request: EngineRequest, compiler: EngineCompiler, progress: Progress) -> Path:
    """Build, save, load, check and keep an engine; DeviceError where it fails, or says another thing than the network."""
    example = example_images(request.shape, request.network)
    identity = request.identity(compiler)

    def write(path: Path) -> None:
        compiler.save(module, path, example)
        progress("checking against the eager network")
        loaded = compiler.load(path, example)
        notes["agreement"] = str(require_agreement(request.network, loaded, request.shape, precision=request.precision))

    notes = {"built": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    try:
        progress("exporting the network")
        program = exported(request.network, request.shape, gather_sampling=request.gather_sampling)
        progress("building the engine (minutes)")
        module = compiler.compile(program, example, compile_settings(request.precision))
        if left_out := compiler.left_out(module):
            notes["outside TensorRT"] = ", ".join(left_out)
            progress(f"PyTorch runs what TensorRT did not take: {notes['outside TensorRT']}")
        progress("saving the engine")
        return request.cache.keep(identity, notes, write)
    except DeviceError:
        raise
    except Exception as error:  # builders raise whatever they like; said with its cause
        raise DeviceError(f"the TensorRT engine could not be built ({type(error).__name__}: {error})") from error


def engine_backend(
    request: EngineRequest,
    compiler: EngineCompiler,
    *,
    allow_build: bool,
    progress: Progress,
    build: Callable[[], None] | None = None,
) -> ReadyBackend:
    """The kept engine, else one that is built now, which `build` may do in a process of its own.

    Raises DeviceError where TensorRT cannot be used, or nothing may be loaded and nothing built.
    """
    if unusable := compiler.unusable(request.device):
        raise DeviceError(f"backend tensorrt cannot be used: {unusable}")
    try:
        return load_engine(request, compiler)
    except NoEngineError as missing:
        if not allow_build:
            raise DeviceError(f"{missing}, and allow_build is off: run 'vltseg build-engine' on this machine first") from missing
        progress(str(missing))
    if build is None:
        build_engine(request, compiler, progress)
    else:
        build()
    return load_engine(request, compiler)
