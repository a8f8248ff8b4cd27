# SPDX-License-Identifier: Apache-2.0
"""What the training's bar says in a terminal."""

from __future__ import annotations

import sys

import pytest
from lightning.pytorch import Trainer

from vltseg_core.training.progress_bars import progress_bar


@pytest.mark.parametrize(("limit", "said"), [({"max_steps": 3}, "Epoch 0"), ({"max_epochs": 3}, "Epoch 0/2")])
def test_a_terminal_s_bar_counts_epochs_where_they_are_the_limit(
    limit: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    bar = progress_bar()
    bar.setup(Trainer(**limit, callbacks=[bar], logger=False, enable_checkpointing=False, accelerator="cpu"), None, "fit")
    assert bar._get_train_description(0).strip() == said
