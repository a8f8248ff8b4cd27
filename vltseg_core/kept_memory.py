# SPDX-License-Identifier: Apache-2.0
"""Keeps the memory that a process frees, so that the next image's tensors need no fresh pages from the kernel."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # malloc.h of glibc
_NEVER_TRIM = 2**31 - 1
_USERS_VARIABLES = ("GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep large blocks that are freed, in one arena, for the whole process as long as it runs.

    Left to itself it gives large tensors back to the kernel, which zeroes their pages anew for the next image; on a CPU that
    costs as much as the arithmetic where images or batches are large. The process then holds the most that it ever needed.
    For programs to call at their start; a library leaves the choice to its user. Gives False, and changes nothing, where
    the allocator is another one or the environment says what to do (MALLOC_ variables, GLIBC_TUNABLES, LD_PRELOAD).
    """
    if any(name in _USERS_VARIABLES or name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM), mallopt(_M_ARENA_MAX, 1)])
