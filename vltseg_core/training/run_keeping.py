# SPDX-License-Identifier: Apache-2.0
"""What makes a run safe to interrupt: steps that do not depend on what was before, checkpoints in time, a clean stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from vltseg_core.training.distributed import any_process
from vltseg_core.training.stop_signals import StopSignals


class StepSeeds(Callback):
    """Before each pass, seeds torch from (seed, pass, process), so that a resumed run draws what it would have drawn."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        sequence = np.random.SeedSequence((self._seed, batch_idx, trainer.global_rank))
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


class RunKeeping(Checkpoint):
    """Saves every so many steps, before each validation and after the last step; stops the run where a signal asks for it.

    A run that goes on at a validation's step validates first.

    Args:
        path: of the checkpoint. save_every: steps between two. signals: who says when to stop.
    """

    def __init__(self, path: Path, save_every: int, signals: StopSignals) -> None:
        self._path, self._save_every, self._signals = path, save_every, signals
        self._saved_step = 0
        self.validated_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._signals.training_begins()
        self._saved_step = trainer.global_step
        if trainer.global_step > 0 and self._is_validation_step(trainer):
            loop = trainer.fit_loop.epoch_loop.val_loop
            trainer.validating = True
            loop.restarting = False
            loop.run()
            trainer.training = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == self._saved_step:
            return  # in the middle of a step's passes
        is_stopping = any_process(bool(self._signals.received), pl_module.device)
        is_due = step % self._save_every == 0 or step >= trainer.max_steps or self._is_validation_step(trainer)
        if is_stopping or is_due:
            trainer.save_checkpoint(self._path, weights_only=False)
            self._saved_step = step
        if is_stopping:
            self._signals.raise_stopped(stopped_elsewhere=True)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        # What the step before it made is saved; a validation is begun anew.
        if any_process(bool(self._signals.received), pl_module.device):
            self._signals.raise_stopped(stopped_elsewhere=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validated_step = trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._signals.training_ends()

    def _is_validation_step(self, trainer: pl.Trainer) -> bool:
        passes = trainer.global_step * trainer.accumulate_grad_batches
        return bool(trainer.enable_validation and trainer.val_check_batch and passes % trainer.val_check_batch == 0)
