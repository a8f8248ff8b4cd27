# SPDX-License-Identifier: Apache-2.0
"""Trains a network.

python training/train.py RECIPE [--data NAME[:SPLIT]=FOLDER ...] [--validate NAME[:SPLIT]=FOLDER ...] [--output FOLDER]
                         [--resume] [--wandb PROJECT] [--SECTION.KEY VALUE ...]
"""

from __future__ import annotations

import sys

from vltseg_core.errors import VltsegError
from vltseg_core.training.command_line import run

if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except VltsegError as error:
        sys.exit(f"error: {error}")
