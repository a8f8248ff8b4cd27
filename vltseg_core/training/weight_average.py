# SPDX-License-Identifier: Apache-2.0
"""The running average of the weights, which is what is validated and written at the end."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from vltseg_core.errors import ConfigurationError
from vltseg_core.training.segmentation_task import SegmentationTask


class WeightAverage(EMAWeightAveraging):
    """Exponential moving average of weights and statistics. decay: how much of the past a step keeps."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, (FSDPStrategy, ModelParallelStrategy)):
            raise ConfigurationError("the weights' average needs them whole, and they are sharded: set run.ema_decay 0")
        super().setup(trainer, pl_module, stage)

    @property
    def module(self) -> SegmentationTask:
        """The task with the averaged weights."""
        assert self._average_model is not None  # set up with the fit
        task: Any = self._average_model.module
        return task
