# SPDX-License-Identifier: Apache-2.0
"""Backends that are engines: torch.export, a compiler, and a file that is built once for a machine."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.export import ExportedProgram

import vltseg_core
from vltseg_core.errors import DeviceError, DeviceMemoryError
from vltseg_core.runtime.agreement import CompiledNetwork, require_agreement
from vltseg_core.runtime.device_faults import device_fault
from vltseg_core.runtime.engine_cache import EngineCache, EngineIdentity, NoEngineError
from vltseg_core.runtime.network_runner import ReadyBackend
from vltseg_core.runtime.run_time_network import GRAPH_REVISION, NetworkShape, RunTimeNetwork, example_images, exported
from vltseg_core.runtime.weights_file import WeightsFile

Progress = Callable[[str], None]
"""Told of each step in a few words."""


class UnusableError(DeviceError):
    """A compiler that this machine does not offer: nothing failed."""


class EngineCompiler(Protocol):
    """What makes, saves and loads engines: `TorchTensorrt`, `OnnxRuntime`, or what stands in for one in a test.

    name: of the backend. title: for sentences. takes_batches: whether several images at once gain anything.
    gather_sampling: sampling by index in place of GridSample.
    """

    name: str
    title: str
    takes_batches: bool
    gather_sampling: bool

    def unusable(self, device: torch.device, precision: str) -> str | None:
        """Why it cannot be used so, in a clause, or None."""

    def versions(self, device: torch.device) -> dict[str, str]:
        """Of all that an engine depends on besides the network."""

    def settings(self, precision: str) -> dict[str, Any]:
        """For `compile`; an engine depends on them too."""

    def compile(self, program: ExportedProgram, example: Tensor, settings: dict[str, Any]) -> Any:
        """The compiled module."""

    def left_out(self, module: Any) -> list[str]:
        """Operators of a compiled module that PyTorch runs, not the engine."""

    def save(self, module: Any, path: Path, example: Tensor) -> None:
        """Write it to a file."""

    def load(self, path: Path, example: Tensor) -> CompiledNetwork:
        """What `save` wrote, ready to run."""


@dataclass(frozen=True)
class EngineRequest:
    """Which engine: for which network, of which weights file, in which precision, for which images, kept where."""

    network: RunTimeNetwork
    weights: WeightsFile
    config: dict[str, Any]
    precision: str
    shape: NetworkShape
    cache: EngineCache

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    def suited_to(self, compiler: EngineCompiler) -> EngineRequest:
        """The same for single images, where batches gain nothing: one that is not full would be filled up for nothing."""
        return self if compiler.takes_batches else replace(self, shape=self.shape._replace(batch=1))

    def identity(self, compiler: EngineCompiler) -> EngineIdentity:
        """Everything that the engine depends on."""
        versions = {"vltseg": vltseg_core.__version__, "torch": torch.__version__, **compiler.versions(self.device)}
        settings = {**compiler.settings(self.precision), "gather_sampling": compiler.gather_sampling, "graph": GRAPH_REVISION}
        inference = {key: value for key, value in self.config["inference"].items() if key != "max_input_pixels"}  # in the shape
        config = {**self.config, "inference": inference}
        return EngineIdentity(self.weights.digest(), config, *self.shape, self.precision, settings, versions)


def load_engine(request: EngineRequest, compiler: EngineCompiler) -> ReadyBackend:
    """The kept engine; raises NoEngineError where there is none that may be loaded or that does, DeviceMemoryError."""
    path, record = request.cache.find(request.identity(compiler))
    example = example_images(request.shape, request.network)
    try:
        network = compiler.load(path, example)
    except Exception as error:
        if isinstance(fault := device_fault(error, request.device, f"the engine '{path}'"), DeviceMemoryError):
            raise fault from error
        raise NoEngineError(f"the engine '{path}' does not load ({error})") from error
    reason = f"engine for {request.shape} of {record.get('built', 'unknown date')}, {record.get('agreement', 'unchecked')}"
    if left_out := record.get("left to PyTorch"):
        reason += f", left to PyTorch: {left_out}"
    return ReadyBackend(compiler.name, reason, network, request.shape)


def build_engine(request: EngineRequest, compiler: EngineCompiler, progress: Progress, *, force: bool = False) -> Path:
    """Build, save, load, check and keep an engine; DeviceError where it fails, or says another thing than the network.

    One that is there, perhaps since somebody else built it meanwhile, is taken as it is, unless `force`.
    """
    example = example_images(request.shape, request.network)
    identity = request.identity(compiler)

    def write(path: Path) -> None:
        compiler.save(module, path, example)
        progress("checking against the eager network")
        loaded = compiler.load(path, example)
        notes["agreement"] = str(require_agreement(request.network, loaded, request.shape, precision=request.precision))

    notes = {"built": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    try:
        with request.cache.building():
            if not force:
                try:
                    load_engine(request, compiler)
                    progress("the engine is there already")
                    return request.cache.find(identity)[0]
                except NoEngineError as missing:
                    progress(str(missing))
            progress("exporting the network")
            program = exported(request.network, request.shape, gather_sampling=compiler.gather_sampling)
            progress(f"building the {compiler.title} engine")
            module = compiler.compile(program, example, compiler.settings(request.precision))
            if left_out := compiler.left_out(module):
                notes["left to PyTorch"] = ", ".join(left_out)
                progress(f"PyTorch runs what {compiler.title} did not take: {notes['left to PyTorch']}")
            progress("saving the engine")
            return request.cache.keep(identity, notes, write)
    except DeviceError:
        raise
    except Exception as error:  # builders raise whatever they like; said with its cause
        raise DeviceError(f"the {compiler.title} engine could not be built ({type(error).__name__}: {error})") from error


def engine_backend(
    request: EngineRequest,
    compiler: EngineCompiler,
    *,
    allow_build: bool,
    progress: Progress,
    build: Callable[[], None] | None = None,
) -> ReadyBackend:
    """The kept engine, else one that is built now, which `build` may do in a process of its own.

    Raises UnusableError where the compiler cannot be used, DeviceError where nothing may be loaded and nothing built.
    """
    if unusable := compiler.unusable(request.device, request.precision):
        raise UnusableError(f"backend {compiler.name} cannot be used: {unusable}")
    try:
        return load_engine(request, compiler)
    except NoEngineError as missing:
        if not allow_build:
            raise DeviceError(f"{missing}, and allow_build is off: run 'vltseg build-engine' on this machine first") from missing
    if build is None:
        build_engine(request, compiler, progress)
    else:
        build()
    return load_engine(request, compiler)
