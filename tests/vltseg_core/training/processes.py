# SPDX-License-Identifier: Apache-2.0
"""What the tests run in processes of their own."""

from __future__ import annotations

import sys

import torch

from vltseg_core.training.command_line import run


def train_with_one_thread(arguments: list[str]) -> None:
    """The training command, as deterministic as the tests' own process."""
    torch.set_num_threads(1)
    sys.exit(run(arguments))
