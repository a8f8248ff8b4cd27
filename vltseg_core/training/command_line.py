# SPDX-License-Identifier: Apache-2.0
"""The training command: a recipe, LightningCLI behind it, and what every run does around the fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint, RichProgressBar, TQDMProgressBar
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.pretrained_towers import IMAGENET
from vltseg_core.data.data_sets import DATA_SETS
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.datamodule import SourcesDataModule
from vltseg_core.training.segmentation_task import SegmentationTask

DEMO_CREDIT = "drawn demo scenes (clear)"
TOWER_CREDITS = {IMAGENET: "ImageNet-1k (the image encoder's start: EfficientNet-Lite0, Google)"}
_USAGE = "usage: train.py RECIPE.yaml [--data NAME=FOLDER ...] [--output FOLDER] [--resume] [--SECTION.KEY VALUE ...]"


def run(arguments: Sequence[str]) -> int:
    """Train as the recipe says, then write OUTPUT/model.safetensors. Returns the exit code."""
    recipe, output, resume, options = _parse(list(arguments))
    last = output / "checkpoints" / "last.ckpt"
    if last.exists() and not resume:
        raise ConfigurationError(f"'{output}' holds a run already: add --resume to go on with it, or give another --output")
    torch.set_flush_denormal(True)  # a CPU computes with them tens of times slower
    torch.set_float32_matmul_precision("high")
    cli = LightningCLI(
        SegmentationTask,
        SourcesDataModule,
        run=False,
        args=["--config", recipe, *options],
        seed_everything_default=0,
        save_config_callback=None,
        trainer_defaults={
            "max_epochs": -1,
            "accelerator": "auto",
            "logger": False,
            "callbacks": _callbacks(output),
            "num_sanity_val_steps": 0,
        },
    )
    cli.trainer.logger = TensorBoardLogger(output, name=None, version="logs")
    missing = [name for name in cli.datamodule.weights if name not in cli.datamodule.source_names]
    if missing:
        print(f"left out, no folder given: {', '.join(missing)} (add --data {missing[0]}=FOLDER)")
    # Lightning's own optimiser and callback states; the file is the user's own and read with weights_only.
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=last if resume and last.exists() else None)
    if cli.trainer.interrupted:
        print(f"stopped at step {cli.trainer.global_step}: go on with --output {output} --resume")
        return 130
    start = cli.model.hparams["pretrained"]
    cli.model.embed_classes_by_context()
    credited = [TOWER_CREDITS.get(start, f"the image encoder's start: '{start}'")] if start else []
    trained_on = "; ".join(
        credited + [DATA_SETS[n].credit if n in DATA_SETS else DEMO_CREDIT for n in cli.datamodule.source_names]
    )
    native.save(cli.model.network, output / "model.safetensors", trained_on=trained_on)
    print(f"weights: {output / 'model.safetensors'}")
    return 0


def _callbacks(output: Path) -> list[object]:
    keep_last = ModelCheckpoint(
        output / "checkpoints", filename="step{step}", auto_insert_metric_name=False, save_last=True,
        every_n_train_steps=100, save_top_k=1, monitor="step", mode="max", save_on_train_epoch_end=False,
    )  # fmt: skip
    progress = RichProgressBar() if sys.stdout.isatty() else TQDMProgressBar(refresh_rate=50)
    return [EMAWeightAveraging(decay=0.998), LearningRateMonitor("step"), progress, keep_last]


def _parse(arguments: list[str]) -> tuple[str, Path, bool, list[str]]:
    """Recipe, output folder, whether to resume, and what is left for LightningCLI."""
    if not arguments or arguments[0].startswith("-"):
        raise ConfigurationError(_USAGE)
    recipe, rest = arguments[0], arguments[1:]
    if not Path(recipe).is_file():
        raise ConfigurationError(f"recipe '{recipe}' not found: give one of training/recipes/*.yaml")
    output, resume = Path("runs") / Path(recipe).stem, False
    roots: dict[str, str] = {}
    options: list[str] = []
    while rest:
        option = rest.pop(0)
        if option == "--data":
            while rest and not rest[0].startswith("--"):
                name, separator, folder = rest.pop(0).partition("=")
                if not separator:
                    raise ConfigurationError(f"--data takes NAME=FOLDER, not '{name}'. {_USAGE}")
                roots[name] = folder
        elif option == "--output" and rest:
            output = Path(rest.pop(0))
        elif option == "--resume":
            resume = True
        else:
            options.append(option)
    if roots:
        options.append(f"--data.roots={json.dumps(roots)}")
    return recipe, output, resume, options
