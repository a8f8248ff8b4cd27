# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates every combination of some settings, into one table that the same command goes on with.

python training/sweep.py SWEEP.yaml --data NAME[:SPLIT]=FOLDER ... --target NAME[:SPLIT]=FOLDER ... [--axis SETTING=V,V ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from vltseg_core.errors import VltsegError
from vltseg_core.training.sweep_command import run

if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:], (sys.executable, str(Path(__file__).with_name("train.py")))))
    except VltsegError as error:
        sys.exit(f"error: {error}")
