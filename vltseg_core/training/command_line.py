# SPDX-License-Identifier: Apache-2.0
"""The training command: a recipe, LightningCLI behind it, and what every run does around the fit."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.pretrained_towers import IMAGENET
from vltseg_core.errors import CheckpointError, ConfigurationError, DeviceError
from vltseg_core.runtime.weights_path import weights_path
from vltseg_core.training.activation_checkpointing import blocks_of
from vltseg_core.training.arguments import Arguments, parse
from vltseg_core.training.checkpoint_files import DurableCheckpoints, checkpoint_to_resume, last_checkpoint
from vltseg_core.training.datamodule import SourcesDataModule
from vltseg_core.training.distributed import launched_processes
from vltseg_core.training.learning_curves import LearningCurves
from vltseg_core.training.progress_bars import progress_bar
from vltseg_core.training.recipe_record import check_against, write_record
from vltseg_core.training.run_keeping import RunKeeping, StepSeeds
from vltseg_core.training.sample_predictions import SamplePredictions
from vltseg_core.training.segmentation_task import SegmentationTask
from vltseg_core.training.sources import DEMO
from vltseg_core.training.stop_signals import RunStopped, StopSignals
from vltseg_core.training.unreadable_files import UnreadableFiles
from vltseg_core.training.weight_average import WeightAverage
from vltseg_core.training.weights_files import WeightsFiles

DEMO_CREDIT = "drawn demo scenes (clear)"
TOWER_CREDITS = {IMAGENET: "ImageNet-1k (the image encoder's start: EfficientNet-Lite0, Google)"}
_BESIDE_THE_POINT = (
    "You're resuming from a checkpoint that ended before the epoch ended",
    "LightningCLI's args parameter is intended to run from within Python",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "The number of training batches .* is smaller than the logging interval",
    "Found .* module\\(s\\) in eval mode at the start of training",
)
"""What Lightning warns of, and is meant to be so here: samples follow from their number, frozen parts are in eval mode."""
_BETWEEN_CREDITS = "; "
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class RunSettings:
    """What a run does around the training.

    save_every: steps between two checkpoints: what a kill costs at most. ema_decay: how much of the past the weights'
    running average keeps at each step; 0 for no average. num_predictions: images shown of each set at each validation.
    sync_batchnorm: whether several GPUs share their batches' statistics.
    """

    save_every: int = 100
    ema_decay: float = 0.0
    num_predictions: int = 2
    sync_batchnorm: bool = True


class _TrainingCLI(LightningCLI):
    """LightningCLI with the section `run`, and every run's own callbacks, loggers and checkpoints."""

    def __init__(self, arguments: Arguments, signals: StopSignals) -> None:
        self._arguments, self._signals = arguments, signals
        self.average: WeightAverage | None = None
        super().__init__(
            SegmentationTask,
            SourcesDataModule,
            run=False,
            args=["--config", arguments.recipe, *arguments.options],
            seed_everything_default=0,
            save_config_callback=None,
            trainer_defaults={
                "max_epochs": -1,
                "max_steps": 5000,
                "val_check_interval": 1000,
                "check_val_every_n_epoch": None,
                "gradient_clip_val": 0.01,
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
                **launched_processes(),
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(RunSettings, "run")

    def instantiate_trainer(self, **settings: Any) -> Trainer:
        output = self._arguments.output
        run: RunSettings = self.config_init["run"]
        run = run if isinstance(run, RunSettings) else RunSettings(**vars(run))
        chosen = self.config_init["trainer"]
        self.average = WeightAverage(run.ema_decay) if run.ema_decay > 0 else None
        self.keeping = RunKeeping(last_checkpoint(output), run.save_every, self._signals)
        self.files = WeightsFiles(output, _credits(self.model, self.datamodule), self.average)
        callbacks: list[Callback] = [] if self.average is None else [self.average]
        callbacks += [
            StepSeeds(self.datamodule.seed),
            UnreadableFiles(),
            LearningRateMonitor("step"),
            SamplePredictions(output, run.num_predictions),
            LearningCurves(output),
            self.files,
            self.keeping,
        ]
        if chosen["enable_progress_bar"] is not False:
            callbacks.append(progress_bar())
        settings |= {
            "callbacks": [*callbacks, *(chosen["callbacks"] or [])],
            "plugins": [DurableCheckpoints(), *(chosen["plugins"] or [])],
            "logger": _loggers(self._arguments),
        }
        if chosen["strategy"] == "fsdp":
            settings["strategy"] = FSDPStrategy(auto_wrap_policy={type(block) for block in blocks_of(self.model.network)})
        trainer: Trainer = super().instantiate_trainer(**settings)
        if run.sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cuda":
            self.model.synchronise_batch_norms()
        return trainer

    def recipe(self) -> dict[str, Any]:
        """Every setting of the run, defaults included."""
        return dict(yaml.safe_load(self.parser.dump(self.config, skip_none=False)))


def run(arguments: Sequence[str]) -> int:
    """Train as the recipe says, then write OUTPUT/model.safetensors. Returns the exit code."""
    parsed = parse(arguments)
    checkpoint = checkpoint_to_resume(parsed.output) if parsed.resume else None
    if not parsed.resume and last_checkpoint(parsed.output).exists():
        raise ConfigurationError(
            f"'{parsed.output}' holds a run already: add --resume to go on with it, or give another --output"
        )
    with StopSignals() as signals:
        try:
            return _train(parsed, checkpoint, signals)
        except RunStopped as stop:
            print(f"{stop}: go on with --output {parsed.output} --resume" if last_checkpoint(parsed.output).exists() else stop)
            return stop.exit_code
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise CheckpointError(
                    f"the disk of '{parsed.output}' is full: make room, then go on with --output {parsed.output} --resume"
                ) from error
            raise
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            reason = str(error).partition("\n")[0].rstrip(". ")
            raise DeviceError(
                f"a process that prepares samples ended ({reason}), most often for want of memory: lower --data.num_workers, "
                f"then go on with --output {parsed.output} --resume"
            ) from error


def _train(arguments: Arguments, checkpoint: Path | None, signals: StopSignals) -> int:
    torch.set_flush_denormal(True)  # a CPU computes with them tens of times slower
    torch.set_float32_matmul_precision("high")
    for message in _BESIDE_THE_POINT:
        warnings.filterwarnings("ignore", message=message)
    cli = _TrainingCLI(arguments, signals)
    trainer, task, data = cli.trainer, cli.model, cli.datamodule
    if data.left_out:
        print(f"left out, no folder given: {', '.join(data.left_out)} (add --data {data.left_out[0]}=FOLDER)")
    data.setup("fit")  # says what is missing before anything is written
    record = arguments.output / "recipe.yaml"
    if checkpoint is not None:
        check_against(record, cli.recipe())
    elif trainer.is_global_zero:
        write_record(record, cli.recipe())
    trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    if cli.files.final_step != trainer.global_step:  # it had been trained to the end, and was killed after that
        cli.files.write_final(trainer, task)
    if cli.keeping.validated_step != trainer.global_step and data.evaluation_sets:
        trainer.validate(task, data, verbose=False)
    print(f"weights: {arguments.output / 'model.safetensors'}")
    return 0


def _loggers(arguments: Arguments) -> list[Logger]:
    loggers: list[Logger] = [TensorBoardLogger(arguments.output, name=None, version="logs")]
    if arguments.wandb:
        try:
            import wandb  # type: ignore[import-not-found]  # noqa: F401  # few want it
        except ImportError as error:
            raise ConfigurationError("Weights & Biases is not installed: pip install wandb, or leave --wandb out") from error
        from lightning.pytorch.loggers import WandbLogger

        os.makedirs(arguments.output, exist_ok=True)
        loggers.append(WandbLogger(project=arguments.wandb, name=arguments.output.name, save_dir=arguments.output))
    return loggers


def _credits(task: SegmentationTask, data: SourcesDataModule) -> str:
    """What a network has learnt from, also before this run, for the weights file's header."""
    start = task.pretrained
    credited = [TOWER_CREDITS.get(start, f"the image encoder's start: '{start}'")] if start else []
    if task.initial_weights:
        credited += native.read_header(weights_path(task.initial_weights))[1].split(_BETWEEN_CREDITS)
    credited += [source.data_set.credit for source in data.sources]
    return _BETWEEN_CREDITS.join(dict.fromkeys(credited + [DEMO_CREDIT] * (DEMO in data.source_names)))
