# SPDX-License-Identifier: Apache-2.0
"""A node that must not outlive whoever started it asks the kernel to be told."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PARENT_AT_START = os.getppid()  # imported before what takes seconds to import, or an early end of it goes unnoticed


def end_with_parent() -> None:
    """Get SIGTERM when the parent process ends, and now if it already has (Linux; elsewhere nothing happens)."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != _PARENT_AT_START:
        os.kill(os.getpid(), signal.SIGTERM)
