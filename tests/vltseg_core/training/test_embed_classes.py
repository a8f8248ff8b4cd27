# SPDX-License-Identifier: Apache-2.0
"""Random class embeddings: the same for a seed, and what a network takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from vltseg_core.checkpoints.class_embeddings import load_class_embeddings
from vltseg_core.config import PRESETS

ROOT = Path(__file__).parents[3]


def made(path: Path, *options: str) -> torch.Tensor:
    command = [sys.executable, "training/embed_classes.py", "random", *options, "-o", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return load_class_embeddings(str(path), PRESETS["tiny"])


def test_random_embeddings_follow_from_their_seed_and_are_of_unit_length(tmp_path: Path) -> None:
    first, again = made(tmp_path / "new" / "a.safetensors"), made(tmp_path / "b.safetensors")
    other = made(tmp_path / "c.safetensors", "--seed", "1")
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert torch.allclose(first.norm(dim=1), torch.ones(19))
