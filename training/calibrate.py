# SPDX-License-Identifier: Apache-2.0
"""Calibrates a network: python training/calibrate.py CHECKPOINT --target NAME[:SPLIT]=FOLDER ... -o FILE."""

from __future__ import annotations

import sys

from vltseg_core.errors import VltsegError
from vltseg_core.training.calibrate_command import run

if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except VltsegError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.strerror or error} ('{error.filename or ''}'): check the path, its permissions and the disk")
