# SPDX-License-Identifier: Apache-2.0
"""Lightning's progress bars, which for a resumed run would count the steps of before but not know how many there will be."""

from __future__ import annotations

import sys

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar


def _num_batches(trainer: Trainer) -> int | float:
    """Batches of the whole run, those before it was resumed counted too; inf where the trainer does not know."""
    if trainer.max_steps > 0:
        return min(trainer.num_training_batches, trainer.max_steps * trainer.accumulate_grad_batches)
    return trainer.num_training_batches


class _RichBar(RichProgressBar):
    @property
    def total_train_batches(self) -> int | float:
        return _num_batches(self.trainer)

    def _get_train_description(self, current_epoch: int) -> str:
        """Without the number of epochs where there is none: Lightning would have it be -1, and call the last one -2."""
        return super()._get_train_description(current_epoch).replace("/-2", "")


class _PlainBar(TQDMProgressBar):
    @property
    def total_train_batches(self) -> int | float:
        return _num_batches(self.trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Also starts the bar at the step that a run is resumed from, where no epoch's start will do so."""
        super().on_train_start(trainer, pl_module)
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        total = self.total_train_batches
        bar = self.train_progress_bar
        bar.total = None if total == float("inf") else total
        bar.initial = bar.n = done  # the time left follows from the steps since then


def progress_bar() -> ProgressBar:
    """For a terminal, or lines that a log file can hold."""
    return _RichBar() if sys.stdout.isatty() else _PlainBar(refresh_rate=50)
