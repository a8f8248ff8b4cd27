# SPDX-License-Identifier: Apache-2.0
"""What the network sees at each validation: image, prediction and truth side by side, as files and in TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray

from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.evaluation.overlay import blend, side_by_side, with_caption
from vltseg_core.labels import CITYSCAPES, CLASS_TABLES, ClassTable
from vltseg_core.training.validation_images import ValidationImage

_PANEL_WIDTH_PX = 480


class SamplePredictions(Callback):
    """Writes OUTPUT/predictions/stepNNNNNN/SET_FRAME.png for some images of each validation set, the same every time.

    Args:
        output: the run's folder. num_images: of each set, spread over it; in a distributed run of the first process's share.
    """

    def __init__(self, output: Path, num_images: int) -> None:
        self._folder, self._num_images = output / "predictions", num_images

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ValidationImage,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        name, shown_set = list(trainer.datamodule.evaluation_sets.items())[dataloader_idx]  # type: ignore[attr-defined]
        share = -(-len(shown_set.images) // trainer.world_size)
        if not trainer.is_global_zero or not batch.counts or batch_idx not in _spread(share, self._num_images):
            return
        picture = comparison(batch.labelled, outputs["predicted"], shown_set)
        folder = self._folder / f"step{trainer.global_step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        title = f"{name}_{shown_set.frame_names[batch.number]}".replace(":", "-").replace("/", "-")
        cv2.imwrite(str(folder / f"{title}.png"), picture[..., ::-1])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"predictions/{title}", picture, trainer.global_step, dataformats="HWC")


def comparison(frame: LabelledImage, predicted: NDArray[np.uint8], shown_set: EvaluationSet) -> NDArray[np.uint8]:
    """Image, prediction and truth in a row, uint8 [h, w, 3] RGB, in the colours of the set's own classes."""
    classes = _table_of(shown_set)
    pixels, truth = frame.image, frame.codes
    height, width = truth.shape
    size = (_PANEL_WIDTH_PX, max(1, round(height * _PANEL_WIDTH_PX / width)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    small_truth, small_predicted = (
        np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8) for labels in (truth, predicted)
    )
    panels = {
        "image": small,
        "prediction": blend(small, small_predicted, classes),
        "truth": blend(small, small_truth, classes),
    }
    return side_by_side([with_caption(panel, caption) for caption, panel in panels.items()])


def _table_of(shown_set: EvaluationSet) -> ClassTable:
    return next((table for table in CLASS_TABLES.values() if table.names == shown_set.class_names), CITYSCAPES)


def _spread(num_images: int, num_wanted: int) -> set[int]:
    return {num_images * place // num_wanted for place in range(num_wanted)} if num_wanted else set()
