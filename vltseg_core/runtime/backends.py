# SPDX-License-Identifier: Apache-2.0
"""Which backend runs the network: eager, compile, tensorrt or onnxruntime, or the best of them that works."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from vltseg_core.errors import ConfigurationError, DeviceError
from vltseg_core.runtime.child_build import ChildBuild
from vltseg_core.runtime.compile_backend import build_compiled
from vltseg_core.runtime.engine_backend import EngineCompiler, EngineRequest, Progress, UnusableError, engine_backend
from vltseg_core.runtime.engine_compilers import engine_compiler
from vltseg_core.runtime.network_runner import NetworkRunner, ReadyBackend
from vltseg_core.runtime.run_time_network import NetworkShape

BACKENDS = ("auto", "eager", "compile", "tensorrt", "onnxruntime")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackendSettings:
    """Which backend, and how it comes to be.

    backend: one of BACKENDS. batch_size: images that a compiled network takes at once. engine_cache: folder of
    engines, by default in the package's cache. allow_build: whether an engine that is missing, stale or damaged is built.
    build_later: leave building and loading to `Segmenter.build_backend`; until then the eager network serves.
    compiler: what makes the engines; None: what the backend is called after. eager_reason: why it is the eager network,
    where that is asked for.
    """

    backend: str = "auto"
    batch_size: int = 1
    engine_cache: Path | None = None
    allow_build: bool = True
    build_later: bool = False
    compiler: EngineCompiler | None = None
    eager_reason: str = "asked for"

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigurationError(f"unknown backend '{self.backend}': use {', '.join(BACKENDS)}")
        if self.batch_size < 1:
            raise ConfigurationError(f"batch size {self.batch_size}: use 1 or more")


class BackendBuild:
    """The way from the eager network to the backend that was asked for.

    Args:
        settings: which. runner: what it takes over from. request: the network and its engine; None where images of any
            size may come, for which nothing can be compiled. source: checkpoint, as the command line takes it.

    eager_serves_meanwhile: whatever else was asked for, since without the build it would serve anyway: with auto on a CPU.
    """

    def __init__(self, settings: BackendSettings, runner: NetworkRunner, request: EngineRequest | None, source: str) -> None:
        self._settings, self._runner, self._request, self._source = settings, runner, request, source
        self._child = ChildBuild()
        device = next(runner.network.parameters()).device
        self._candidates = _candidates(settings, device)
        self.eager_serves_meanwhile = settings.backend == "auto" and device.type == "cpu"
        if settings.backend == "eager":
            runner.serve_with(ReadyBackend("eager", settings.eager_reason))
        elif request is None:
            if settings.backend != "auto":
                raise ConfigurationError(
                    f"backend {settings.backend} compiles for one image size: give an input size (input_height and input_width)"
                )
            self._candidates = ()
            runner.serve_with(ReadyBackend("eager", "images of any size may come: give an input size to have it compiled"))
        elif not self._candidates:
            reason = "on a CPU auto builds only what serves for long, as the node: ask for onnxruntime or compile by name"
            runner.serve_with(ReadyBackend("eager", reason))
        else:
            runner.serve_with(ReadyBackend("eager", f"until {' or '.join(self._candidates)} is ready"))

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to build or load."""
        return bool(self._candidates)

    def run(self, progress: Progress | None = None, *, in_process: bool = True) -> str:
        """Build or load the first candidate that works and let it take over; what failed on the way there, or nothing.

        A candidate that this machine does not offer is no failure. in_process: False builds an engine in a process of its
        own, so that serving goes on meanwhile. Raises DeviceError where a backend that was asked for by name does not
        work; `auto` goes on to the next and says why.
        """
        missed: list[str] = []
        failures: list[str] = []
        candidates, self._candidates = self._candidates, ()
        for name in candidates:
            try:
                ready = self._made(name, progress or _ignore, in_process=in_process)
            except Exception as raised:  # compilers and their libraries raise whatever they like; none of it is hidden
                error = raised if isinstance(raised, DeviceError) else DeviceError(f"{type(raised).__name__}: {raised}")
                if self._settings.backend != "auto":
                    self._runner.serve_with(ReadyBackend("eager", f"{name} failed: {error}"))
                    raise error from raised
                missed.append(f"{name}: {error}")
                if self._child.is_cancelled:
                    break  # nobody waits for the next one
                if not isinstance(error, UnusableError):
                    _log.warning("backend %s does not work: %s", name, error)
                    failures.append(missed[-1])
                continue
            reason = "; ".join([ready.reason, *missed])
            self._runner.serve_with(ReadyBackend(ready.name, reason, ready.network, ready.shape))
            break
        else:
            if candidates:
                self._runner.serve_with(ReadyBackend("eager", "; ".join(["no other works", *missed])))
        return "; ".join(failures)

    def cancel(self) -> None:
        """End a build in a process of its own, if there is one; `run` then raises, or ends without another."""
        self._child.cancel()

    def _made(self, name: str, progress: Progress, *, in_process: bool) -> ReadyBackend:
        request, settings = self._request, self._settings
        assert request is not None  # else there are no candidates
        if name == "compile":
            progress(f"compiling for {request.shape}")
            return build_compiled(request.network, request.shape, precision=request.precision)
        compiler = settings.compiler or engine_compiler(name)
        suited = request.suited_to(compiler)
        return engine_backend(
            suited,
            compiler,
            allow_build=settings.allow_build,
            progress=progress,
            build=None if in_process else lambda: self._child.run(suited, name, self._source, progress),
        )


def network_shape(input_size: tuple[int, int] | None, window_px: int, batch_size: int) -> NetworkShape | None:
    """What enters the network: whole images of `input_size`, or windows of it; None where images of any size may come."""
    if input_size is None:
        return NetworkShape(batch_size, window_px, window_px) if window_px else None
    if window_px and max(input_size) > window_px:
        return NetworkShape(batch_size, min(window_px, input_size[0]), min(window_px, input_size[1]))
    return NetworkShape(batch_size, *input_size)


def _candidates(settings: BackendSettings, device: torch.device) -> tuple[str, ...]:
    """The backends to try, best first, before eager; what builds later serves for long, which pays for building on a CPU."""
    if settings.backend != "auto":
        return () if settings.backend == "eager" else (settings.backend,)
    if device.type == "cuda":
        return ("tensorrt", "compile")
    return ("onnxruntime",) if settings.build_later else ()


def _ignore(step: str) -> None:
    """Nobody wants to know."""
