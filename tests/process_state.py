# SPDX-License-Identifier: Apache-2.0
"""Whether a process that is nobody's child any more has ended."""

from __future__ import annotations

import psutil


def is_running(process_id: int) -> bool:
    """False too for a zombie, which stays where the machine's first process reaps nobody."""
    try:
        return bool(psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
