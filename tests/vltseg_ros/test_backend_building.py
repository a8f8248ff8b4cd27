# SPDX-License-Identifier: Apache-2.0
"""A backend is built beside the node's callbacks; how far it is, and how it ended, can be asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from vltseg_core.errors import DeviceError
from vltseg_ros.backend_building import BackendBuilding


class SlowSegmenter:
    """Builds when it is told to. error: what its building ends with."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.go_on, self.told = error, threading.Event(), threading.Event()

    def build_backend(self, progress: Callable[[str], None]) -> str:
        progress("building the engine")
        self.told.set()
        self.go_on.wait(10)
        if self.error:
            raise self.error
        return "tensorrt: no memory"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (None, None),
        (DeviceError("no GPU: use a CPU"), "no GPU: use a CPU"),
        (RuntimeError("out of luck"), "RuntimeError: out of luck"),
    ],
)
def test_building_tells_its_step_and_its_end(error: Exception | None, failure: str | None) -> None:
    shortfall = "" if error else "tensorrt: no memory"
    segmenter, steps, ends = SlowSegmenter(error), [], []
    building = BackendBuilding(segmenter, on_step=steps.append, on_end=lambda *end: ends.append(end))  # type: ignore[arg-type]  # stands in
    assert segmenter.told.wait(10) and building.is_running
    assert building.progress.startswith("building the engine, 0 s") and not building.wait(0.01)
    segmenter.go_on.set()
    assert building.wait(10) and not building.is_running
    assert (steps, ends, building.failure) == (["building the engine"], [(failure, shortfall)], failure)
    assert building.shortfall == shortfall
