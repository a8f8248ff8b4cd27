# SPDX-License-Identifier: Apache-2.0
"""A run's figures as it goes: OUTPUT/metrics.csv, a row a figure, and OUTPUT/curves.svg drawn from it."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from vltseg_core.evaluation.line_chart import Points, line_charts
from vltseg_core.whole_file import write_whole

_PANELS = {"mIoU in percent": "miou/", "loss": "loss"}


class Figure(NamedTuple):
    """One measured value."""

    step: int
    name: str
    value: float


def read_metrics(path: Path) -> list[Figure]:
    """The figures of a metrics.csv, in the order that they were written; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) == 3 and row[0].isdigit()]
    return [Figure(int(step), name, float(value)) for step, name, value in rows]


class LearningCurves(Callback):
    """Notes losses every `log_every_n_steps` and all scores of each validation; draws the curves anew after it.

    A run that goes on from a checkpoint forgets what it noted after that.
    """

    def __init__(self, output: Path) -> None:
        self._metrics, self._curves = output / "metrics.csv", output / "curves.svg"
        self._noted_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = self._noted_step = trainer.global_step
        # The scores of the step itself are measured again.
        kept = [f for f in read_metrics(self._metrics) if f.step < step or (f.step == step and f.name.startswith("loss"))]
        if trainer.is_global_zero:
            write_whole(self._metrics, _as_csv([("step", "metric", "value"), *kept]))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        if trainer.global_step == self._noted_step:
            return  # in the middle of a step's passes
        self._noted_step = trainer.global_step
        if trainer.global_step % trainer.log_every_n_steps == 0 or trainer.global_step == trainer.max_steps:  # type: ignore[attr-defined]  # Lightning sets it
            self._note(trainer, "loss")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note(trainer, "miou/")
        self._draw(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._draw(trainer)

    def _note(self, trainer: pl.Trainer, prefix: str) -> None:
        figures = {n: float(v) for n, v in trainer.callback_metrics.items() if n.startswith(prefix)}
        if trainer.is_global_zero and figures:
            with self._metrics.open("a", newline="", encoding="utf-8") as file:
                file.write(_as_csv([(trainer.global_step, name, value) for name, value in figures.items()]))

    def _draw(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            panels: dict[str, dict[str, list[tuple[float, float]]]] = {title: {} for title in _PANELS}
            for figure in read_metrics(self._metrics):
                for title, prefix in _PANELS.items():
                    if figure.name.startswith(prefix) and math.isfinite(figure.value):
                        name = figure.name.partition("/")[2] or figure.name
                        panels[title].setdefault(name, []).append((figure.step, figure.value))
            drawn: dict[str, dict[str, Points]] = {title: dict(curves) for title, curves in panels.items() if curves}
            write_whole(self._curves, line_charts(drawn, "step"))


def _as_csv(rows: list[Any]) -> str:
    return "".join(",".join(str(value) for value in row) + "\n" for row in rows)
