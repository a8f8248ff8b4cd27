# SPDX-License-Identifier: Apache-2.0
"""Backend onnxruntime, for real: built, kept, loaded again, as right as the eager network."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.vltseg_core.runtime.networks import run_time_network, save_weights, small_config
from vltseg_core.errors import DeviceError, DeviceMemoryError
from vltseg_core.runtime import BackendSettings, Segmenter
from vltseg_core.runtime.build_engine import build_ahead
from vltseg_core.runtime.engine_cache import EngineCache
from vltseg_core.runtime.onnxruntime_backend import OnnxRuntime
from vltseg_core.runtime.run_time_network import NetworkShape, exported

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed")

pytestmark = pytest.mark.timeout(900)  # builds give way to whatever else the machine does
SIZE = (64, 96)
IMAGES = [np.random.default_rng(i).integers(0, 256, (80, 120, 3), np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(small_config(), tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def built(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Segmenter, list[str]]:
    """A folder with the engine for three cameras, who had it built in a process of its own, and the steps that were told."""
    folder, steps = tmp_path_factory.mktemp("cache") / "missing" / "engines", []
    segmenter = load(weights, folder, build_later=True)
    mask = os.umask(0o002)  # as on many desktops: folders that are made without care can then be written to by the group
    try:
        assert segmenter.build_backend(steps.append) == ""
    finally:
        os.umask(mask)
    return folder, segmenter, steps


@pytest.fixture(scope="module")
def engines(built: tuple[Path, Segmenter, list[str]]) -> Path:
    return built[0]


def load(weights: Path, engines: Path, backend: str = "onnxruntime", **settings: Any) -> Segmenter:
    chosen = BackendSettings(backend, engine_cache=engines, batch_size=3, **settings)
    return Segmenter.load(weights, device="cpu", backend=chosen, input_size=SIZE)


def test_a_kept_engine_answers_as_the_network_does(weights: Path, engines: Path) -> None:
    segmenter = load(weights, engines, allow_build=False)
    assert segmenter.describe().backend == "onnxruntime" and "for 1 x 96x64" in segmenter.describe().backend_reason
    plain = Segmenter.load(weights, device="cpu", backend="eager", input_size=SIZE)
    for images in (IMAGES[:1], IMAGES):
        for ours, expected in zip(segmenter.segment(images), plain.segment(images), strict=True):
            assert (ours.labels == expected.labels).mean() > 0.999
            assert np.abs(ours.confidence.astype(int) - expected.confidence).max() <= 1


def test_what_serves_for_long_gets_it_by_itself(weights: Path, engines: Path) -> None:
    segmenter = load(weights, engines, "auto", build_later=True, allow_build=False)
    segmenter.build_backend()
    assert segmenter.describe().backend == "onnxruntime"


def test_an_engine_is_built_in_a_process_of_its_own(built: tuple[Path, Segmenter, list[str]]) -> None:
    _, segmenter, steps = built
    assert segmenter.describe().backend == "onnxruntime"
    assert any("building the ONNX Runtime engine" in step for step in steps)


def test_the_folders_of_engines_are_made_for_their_owner_alone(engines: Path) -> None:
    assert stat.S_IMODE(engines.stat().st_mode) == 0o700
    assert not engines.parent.stat().st_mode & 0o022


def test_it_says_why_it_cannot_be_used(weights: Path, engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = OnnxRuntime()
    assert "use device cpu, or backend tensorrt" in (compiler.unusable(torch.device("cuda"), "fp32") or "")
    with pytest.raises(DeviceError, match="it computes in fp32, and bf16 was asked for"):
        build_ahead(
            weights,
            NetworkShape(1, *SIZE),
            device="cpu",
            precision="bf16",
            cache=EngineCache(engines),
            progress=lambda step: None,
        )
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(DeviceError, match=r"onnxscript not installed: pip install 'vltseg_ros\[export\]'"):
        load(weights, engines)
    segmenter = load(weights, engines, "auto", build_later=True)
    segmenter.build_backend()
    assert segmenter.describe().backend == "eager" and "onnxscript not installed" in segmenter.describe().backend_reason


def test_its_own_exceptions_are_told_as_what_they_are(weights: Path, engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    segmenter = load(weights, engines, allow_build=False)

    def fail(*arguments: Any) -> Any:
        raise Fail("Failed to allocate memory for requested buffer of size 99")

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
    with pytest.raises(DeviceMemoryError, match="out of memory on cpu"):
        segmenter.segment(IMAGES[:1])


def test_an_onnxruntime_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError("GLIBCXX_3.4.99 not found")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert "onnxruntime cannot be imported (GLIBCXX_3.4.99" in (OnnxRuntime().unusable(torch.device("cpu"), "fp32") or "")


def test_threads_export_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []

    def export(*arguments: Any) -> Any:
        assert not inside
        inside.append("here")
        time.sleep(0.2)
        inside.clear()
        raise KeyError("far enough")

    def exporting() -> None:
        with contextlib.suppress(KeyError):
            exported(network, NetworkShape(1, *SIZE))
        num_ended.append(1)

    monkeypatch.setattr(torch.export, "export", export)
    network, num_ended = run_time_network(small_config()), []
    threads = [threading.Thread(target=exporting) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(num_ended) == 3


def test_a_build_ends_with_whoever_wanted_it_and_leaves_nothing(weights: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vltseg_core.runtime.build_engine", str(weights), "onnxruntime", "cpu", "fp32"]
    command += ["1", "64", "96", str(tmp_path / "engines")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        while "exporting" not in child.stdout.readline():
            assert child.poll() is None
        child.stdin.close()
        assert child.wait(60) == -signal.SIGKILL  # at once, not when a builder's own code comes back to Python
    assert [path.name for path in (tmp_path / "engines").iterdir()] == [".lock"]


def test_a_session_has_as_many_threads_as_pytorch(weights: Path, engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    given = []

    def noted(path: str, options: Any, **rest: Any) -> Any:
        given.append(options.intra_op_num_threads)
        return session(path, options, **rest)

    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    load(weights, engines, allow_build=False)
    assert given == [torch.get_num_threads()]
