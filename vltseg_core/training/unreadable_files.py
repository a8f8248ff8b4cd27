# SPDX-License-Identifier: Apache-2.0
"""Files that could not be read: each named once, every draw of one counted, the run ended only where most draws fail."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from vltseg_core.errors import InputError
from vltseg_core.training.distributed import sum_over_processes
from vltseg_core.training.training_samples import TrainingBatch
from vltseg_core.training.validation_images import ValidationImage

_FEWEST_DRAWS = 32


class UnreadableFiles(Callback):
    """Counts draws that failed, in this process; InputError where more than half do.

    num_failed: draws given up. named: what was wrong, once for each file.
    """

    def __init__(self) -> None:
        self.num_draws = self.num_failed = 0
        self.named: dict[str, None] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"num_draws": self.num_draws, "num_failed": self.num_failed, "named": list(self.named)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_draws, self.num_failed = int(state_dict["num_draws"]), int(state_dict["num_failed"])
        self.named = dict.fromkeys(state_dict["named"])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self.num_draws += len(batch.images) + len(batch.failures)
        self.num_failed += len(batch.failures)
        for failure in batch.failures:
            self._name(failure)
        if self.num_draws >= _FEWEST_DRAWS and 2 * self.num_failed > self.num_draws:
            raise InputError(
                f"{self.num_failed} of {self.num_draws} draws could not be read, the last because {next(reversed(self.named))}"
            )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # Lightning sets it
            pl_module.log("data/failed_draws", float(self._total(pl_module.device)[0]), batch_size=1)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: ValidationImage,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch.failure:
            self._name(batch.failure)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        num_failed, num_files = self._total(pl_module.device)
        if num_files and trainer.is_global_zero:
            print(f"skipped {num_files} files that could not be read, named above; {num_failed} draws were made again")

    def _name(self, failure: str) -> None:
        if failure not in self.named:
            self.named[failure] = None
            print(f"skipped: {failure}", flush=True)

    def _total(self, device: torch.device) -> list[int]:
        counts = torch.tensor([float(self.num_failed), float(len(self.named))], device=device)
        return [int(count) for count in sum_over_processes(counts)]
