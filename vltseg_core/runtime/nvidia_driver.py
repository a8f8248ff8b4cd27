# SPDX-License-Identifier: Apache-2.0
"""The version of the NVIDIA driver."""

from __future__ import annotations

import re
from pathlib import Path

_VERSION_FILE = Path("/proc/driver/nvidia/version")


def driver_version() -> str:
    """As the kernel says, or "unknown"."""
    try:
        text = _VERSION_FILE.read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)*)\s", text)
    return found[1] if found else "unknown"
