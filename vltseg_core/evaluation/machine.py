# SPDX-License-Identifier: Apache-2.0
"""What machine a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")


def describe_machine() -> tuple[tuple[str, str], ...]:
    """Label and value: processor, cores that this process may use, memory, system, Python."""
    entries = [("processor", _field(_CPU_INFO, "model name") or platform.processor() or platform.machine())]
    entries.append(("cores", str(len(os.sched_getaffinity(0)))))
    memory = _field(_MEMORY_INFO, "MemTotal").split()
    if memory:
        entries.append(("memory", f"{int(memory[0]) / 2**20:.0f} GiB"))
    entries.append(("system", f"{platform.system()} {platform.release()}, {platform.machine()}"))
    entries.append(("Python", platform.python_version()))
    return tuple(entries)


def _field(path: Path, name: str) -> str:
    if path.is_file():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
