# SPDX-License-Identifier: Apache-2.0
"""Builds engines ahead of time; as a program, for one that the node needs, beside its serving.

python -m vltseg_core.runtime.build_engine CHECKPOINT BACKEND DEVICE PRECISION BATCH HEIGHT WIDTH CACHE
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from pathlib import Path

import vltseg_core.runtime.device as devices
from vltseg_core.checkpoints import native
from vltseg_core.errors import DeviceError, VltsegError
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.runtime.backends import network_shape
from vltseg_core.runtime.engine_backend import EngineCompiler, EngineRequest, Progress, build_engine
from vltseg_core.runtime.engine_cache import EngineCache
from vltseg_core.runtime.engine_compilers import best_engine_backend, engine_compiler
from vltseg_core.runtime.run_time_network import NetworkShape, RunTimeNetwork
from vltseg_core.runtime.weights_file import WeightsFile
from vltseg_core.runtime.weights_path import weights_path


def run_time_network(
    checkpoint: str | Path, *, device: str = "cpu", precision: str = "auto"
) -> tuple[RunTimeNetwork, WeightsFile, str]:
    """A checkpoint as it runs on a vehicle, its weights file, and the precision."""
    chosen = devices.resolve_device(device)
    chosen_precision = devices.resolve_precision(precision, chosen)
    path = weights_path(checkpoint)
    weights = WeightsFile.about_to_be_read(path)
    network = native.load(path).network.eval()
    fold_for_inference(network)
    return RunTimeNetwork(network.to(chosen, devices.DTYPES[chosen_precision])).eval(), weights, chosen_precision


def engine_shape(checkpoint: str | Path, batch: int, image_size: tuple[int, int], window_px: int | None) -> NetworkShape:
    """What enters the network for images of that size; window_px: 0 for whole images, None for the checkpoint's own window."""
    config, _ = native.read_header(weights_path(checkpoint))
    shape = network_shape(image_size, config.inference.window_px if window_px is None else window_px, batch)
    assert shape is not None  # there is a size
    return shape


def build_ahead(
    checkpoint: str | Path,
    shape: NetworkShape,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    cache: EngineCache,
    progress: Progress,
    force: bool = False,
    compiler: EngineCompiler | None = None,
) -> Path:
    """The engine file for that network, size and machine, built unless it is there; DeviceError where that fails.

    backend: one of ENGINE_BACKENDS, or "auto" for the one that suits the device. compiler: another in its place.
    """
    if compiler is None:
        chosen = best_engine_backend(devices.resolve_device(device)) if backend == "auto" else backend
        compiler = engine_compiler(chosen)
    network, weights, chosen_precision = run_time_network(checkpoint, device=device, precision=precision)
    request = EngineRequest(network, weights, network.network.config.to_dict(), chosen_precision, shape, cache)
    if request.suited_to(compiler) is not request:
        progress(f"built for one image: with {compiler.title} several go one after the other")
        request = request.suited_to(compiler)
    if unusable := compiler.unusable(request.device, request.precision):
        raise DeviceError(f"no engine can be built here: {unusable}")
    return build_engine(request, compiler, progress, force=force)


def main(arguments: list[str]) -> int:
    """As the module says; steps on stdout, what went wrong on stderr. Whoever serves has the cores first.

    SIGTERM, and its parent's end, end it at once, also inside a builder's own code for minutes; the next build removes what
    is half written.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(10)
    checkpoint, backend, device, precision, batch, height, width, cache = arguments
    try:
        build_ahead(
            checkpoint,
            NetworkShape(int(batch), int(height), int(width)),
            backend=backend,
            device=device,
            precision=precision,
            cache=EngineCache(Path(cache)),
            progress=lambda step: print(step, flush=True),
        )
    except VltsegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _end_with_parent() -> None:
    """Whoever started this holds the other end of its input until it is gone itself."""
    while os.read(0, 4096):  # no buffered reader: Python cannot end while a thread waits in one
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
