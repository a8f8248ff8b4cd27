# SPDX-License-Identifier: Apache-2.0
"""Evaluates checkpoints: python training/evaluate.py --checkpoint C [C2 ...] --target NAME[:SPLIT]=FOLDER ... -o FOLDER."""

from __future__ import annotations

import signal
import sys

from vltseg_core.errors import VltsegError
from vltseg_core.evaluation.evaluate_command import run

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is done is kept
    try:
        sys.exit(run(sys.argv[1:]))
    except VltsegError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.strerror or error} ('{error.filename or ''}'): check the path, its permissions and the disk")
