# SPDX-License-Identifier: Apache-2.0
"""The weights files that a run leaves: the final network, and the best one that was validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from vltseg_core.checkpoints import native
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.training.segmentation_task import SegmentationTask
from vltseg_core.training.weight_average import WeightAverage

_NETWORK = "network."


class WeightsFiles(Callback):
    """Writes OUTPUT/best.safetensors whenever the mean IoU over the validation sets is the highest yet, and
    OUTPUT/model.safetensors at the end.

    Args:
        output: the run's folder. trained_on: the data sets and their licences. average: of the weights, if there is one.
    """

    def __init__(self, output: Path, trained_on: str, average: WeightAverage | None) -> None:
        self._output, self._trained_on, self._average = output, trained_on, average
        self.best_miou = 0.0
        self.final_step = -1

    def state_dict(self) -> dict[str, Any]:
        return {"best_miou": self.best_miou}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_miou = float(state_dict["best_miou"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationTask)
        miou = float(trainer.callback_metrics.get("miou/mean", 0.0))
        if miou > self.best_miou:
            self.best_miou = miou
            self._write(trainer, pl_module, "best.safetensors")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationTask)
        self.write_final(trainer, pl_module)

    def write_final(self, trainer: pl.Trainer, task: SegmentationTask) -> None:
        """All processes must call it: sharded weights are gathered."""
        self.final_step = trainer.global_step
        self._write(trainer, task, "model.safetensors")

    def _write(self, trainer: pl.Trainer, task: SegmentationTask, name: str) -> None:
        source = task if self._average is None else self._average.module
        source.embed_classes_by_context()
        whole = trainer.strategy.lightning_module_state_dict() if self._average is None else source.state_dict()
        if trainer.is_global_zero:
            state = {key.removeprefix(_NETWORK): value for key, value in whole.items() if key.startswith(_NETWORK)}
            network = Vltseg(task.network.config)
            network.load_state_dict(state)
            native.save(network, self._output / name, trained_on=self._trained_on)
