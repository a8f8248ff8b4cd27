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
    first, other = made(tmp_path / "new" / "a.safetensors"), made(tmp_path / "b.safetensors", "--seed", "1")
    for embeddings, seed in ((first, 0), (other, 1)):
        directions = torch.randn(19, first.shape[1], generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(embeddings, directions / directions.norm(dim=1, keepdim=True), atol=1e-6)
    assert torch.allclose(first.norm(dim=1), torch.ones(19))
