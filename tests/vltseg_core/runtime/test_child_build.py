# SPDX-License-Identifier: Apache-2.0
"""A build in a process of its own: whatever it says, it comes to an end."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vltseg_core.errors import DeviceError
from vltseg_core.runtime.child_build import ChildBuild
from vltseg_core.runtime.engine_cache import EngineCache
from vltseg_core.runtime.run_time_network import NetworkShape

SHAPE = NetworkShape(2, 64, 96)


def test_a_build_that_says_much_comes_to_its_end_and_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' 'x' >&2\necho >&2\necho last words >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    request: Any = SimpleNamespace(shape=SHAPE, device="cuda:0", precision="fp16", cache=EngineCache(tmp_path))
    with pytest.raises(DeviceError, match="could not be built: last words"):
        ChildBuild().run(request, "tensorrt", "tiny", lambda step: None)
    script.write_text("#!/bin/sh\ntrap '' TERM\necho deaf\nexec sleep 60\n")
    child = ChildBuild()
    start = time.monotonic()
    with pytest.raises(DeviceError, match="cancelled"):
        child.run(request, "tensorrt", "tiny", lambda step: child.cancel())
    assert time.monotonic() - start < 20
    with pytest.raises(DeviceError, match="cancelled"):
        child.run(request, "tensorrt", "tiny", lambda step: None)
