# SPDX-License-Identifier: Apache-2.0
"""Freed memory stays with the process, unless the user's environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from vltseg_core.kept_memory import keep_freed_memory
kept = keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
of_each = []
for _ in range(20):
    before = faults()
    torch.ones(2**24)  # 64 MB
    of_each.append(faults() - before)
print(kept, sum(faults > 1000 for faults in of_each))
"""


def outcome(**variables: str) -> tuple[bool, int]:
    """What it says in a process of its own, and how many of 20 tensors of 64 MB got fresh pages."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | variables
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment).stdout
    kept, num_fresh = said.split()
    return kept == "True", int(num_fresh)


@pytest.mark.skipif(not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="no glibc")
def test_tensors_come_to_lie_where_others_were():
    kept, num_fresh = outcome()
    assert kept and num_fresh < 12


def test_the_users_own_settings_stay():
    kept, num_fresh = outcome(MALLOC_MMAP_THRESHOLD_="131072")
    assert not kept and num_fresh == 20
