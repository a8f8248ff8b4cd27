# SPDX-License-Identifier: Apache-2.0
"""What a network is trained and measured on: a weighted mix of sources, as a LightningDataModule."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
import lightning.pytorch as pl
from torch.utils.data import DataLoader

from vltseg_core.data import demo_images
from vltseg_core.data.census import class_counts
from vltseg_core.data.data_set import FilesOnDisk
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.data.transforms import Augmentation
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.rare_classes import RareClasses
from vltseg_core.training.sources import DEMO, Located, located, sets_to_measure_on, weight_of
from vltseg_core.training.training_samples import MixedSources, Share, Source, StepBatches, TrainingBatch, Variety, joined
from vltseg_core.training.validation_images import ValidationImage, ValidationImages

_MOST_WORKERS = 8
_FAREWELL_S = 60


class SourcesDataModule(pl.LightningDataModule):
    """Training samples mixed from several sources, and the sets to validate on.

    Validated on are the sources' own validation splits, the targets, and drawn scenes if they are a source.

    Args:
        roots: folders of the sources, by NAME[:SPLIT]. targets: of further sets to validate on, likewise.
        weights: how often each source is drawn, relative to the others, by NAME[:SPLIT] or NAME; "demo" are the drawn scenes.
            A source with a folder and no weight weighs 1; one with a weight and no folder is left out.
        batch_size: images in a step, over all processes and accumulated passes.
        image_size: width and height that every training image is brought to, null for its own.
        scales: smallest and largest random enlargement. crop_size: side of the square crop in pixels.
        rare_class_temperature: draws images by the classes in them, the rarer the more often (0.01 in DAFormer); 0 draws
            all alike.
        paste_share: share of the samples that get things of another one pasted in, see `paste_things`.
        style_share: share that is mixed with a random convolution of itself, see `random_style`.
        weather_share: share that gets simulated weather.
        camera_share: share that looks as if taken by another camera, see `random_camera`.
        num_demo_images: clear drawn frames to train on, each of another street.
        num_demo_validation_images: drawn frames of unseen streets to validate on, in each condition.
        num_workers: processes that prepare samples; null for one fewer than there are cores for each training process.
        seed: of everything drawn by chance.
    """

    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        roots: dict[str, str] | None = None,
        targets: dict[str, str] | None = None,
        weights: dict[str, float] | None = None,
        *,
        batch_size: int = 16,
        image_size: tuple[int, int] | None = (1280, 720),
        scales: tuple[float, float] = (1.0, 1.0),
        crop_size: int = 512,
        rare_class_temperature: float = 0.0,
        paste_share: float = 0.0,
        style_share: float = 0.0,
        weather_share: float = 0.0,
        camera_share: float = 0.0,
        num_demo_images: int = 20_000,
        num_demo_validation_images: int = 8,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.weights = dict(weights or {})
        on_disk = located(roots or {})
        self.sources: list[Located] = [source for source in on_disk if weight_of(source.key, self.weights) > 0]
        self.targets = located(targets or {})
        self.draws_scenes = self.weights.get(DEMO, 0.0) > 0
        names = {DEMO} | {key for source in on_disk for key in (source.key, source.data_set.name)}
        self.left_out = [name for name, weight in self.weights.items() if weight > 0 and name not in names]
        if not self.sources and not self.draws_scenes:
            wanted = self.left_out[0] if self.left_out else "NAME"
            raise ConfigurationError(f"there is nothing to train on: add --data {wanted}=FOLDER")
        self.batch_size, self.seed = batch_size, seed
        self.variety = Variety(paste=paste_share, style=style_share, weather=weather_share, camera=camera_share)
        self.rare_class_temperature = rare_class_temperature
        self.augmentation = Augmentation(crop_size, image_size, scales)
        self.num_demo_images, self.num_demo_validation_images = num_demo_images, num_demo_validation_images
        self.num_workers = num_workers
        self.evaluation_sets: dict[str, EvaluationSet] = {}
        self._images: dict[str, FilesOnDisk] = {}

    @property
    def source_names(self) -> list[str]:
        """The sources that are really drawn from."""
        return [source.key for source in self.sources] + [DEMO] * self.draws_scenes

    def prepare_data(self) -> None:
        """Count the classes, in one process, if they decide what is drawn; the counts are kept on disk."""
        if self.rare_class_temperature > 0:
            for source in self.sources:
                print(f"counting the classes in the labels of '{source.key}', unless that was done before")
                self._rare_classes(source)

    def setup(self, stage: str) -> None:
        del stage
        self._images = {source.key: source.training_images() for source in self.sources}
        self.evaluation_sets = sets_to_measure_on(self.sources, self.targets)
        for condition in CONDITIONS if self.draws_scenes else ():
            num_images = self.num_demo_validation_images
            self.evaluation_sets[f"demo-{condition}"] = demo_images.evaluation_set(condition, num_images)

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        trainer = self.trainer
        assert trainer is not None  # Lightning asks for the loader
        share = Share(trainer.global_rank, trainer.world_size, trainer.accumulate_grad_batches)
        batches = StepBatches(
            self.batch_size,
            trainer.max_steps,
            share,
            first_pass=lambda: trainer.global_step * trainer.accumulate_grad_batches,
        )
        mixed = MixedSources(self._drawn_sources(), self.augmentation, variety=self.variety, seed=self.seed)
        return DataLoader(mixed, batch_sampler=batches, collate_fn=joined, **self._worker_settings(prefetch_factor=4))

    def _drawn_sources(self) -> list[Source]:
        sources = [
            Source(
                self._images[source.key],
                weight_of(source.key, self.weights),
                self._rare_classes(source) if self.rare_class_temperature > 0 else None,
            )
            for source in self.sources
        ]
        if self.draws_scenes:
            sources.append(Source(demo_images.DemoImages(self.num_demo_images), self.weights[DEMO]))
        return sources

    def _rare_classes(self, source: Located) -> RareClasses:
        return RareClasses(class_counts(source.training_images()), self.rare_class_temperature)

    def val_dataloader(self) -> list[DataLoader[ValidationImage]]:
        trainer = self.trainer
        assert trainer is not None
        return [
            DataLoader(
                ValidationImages(s.images, trainer.global_rank, trainer.world_size),
                batch_size=None,
                collate_fn=_as_it_is,
                **self._worker_settings(prefetch_factor=2),
            )
            for s in self.evaluation_sets.values()
        ]

    def _worker_settings(self, *, prefetch_factor: int) -> dict[str, Any]:
        num_workers = self.num_workers
        if num_workers is None:
            num_local = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or (self.trainer.num_devices if self.trainer else 1)
            num_workers = min(_MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) // num_local - 1))
        if num_workers == 0:
            return {"num_workers": 0}
        return {"num_workers": num_workers, "prefetch_factor": prefetch_factor, "worker_init_fn": _begin_worker}


def _as_it_is(image: Any) -> Any:
    return image


def _begin_worker(worker: int) -> None:
    """One thread each; and a signal to the whole job leaves the worker at work until the main process has saved.

    A main process that is killed takes its workers with it, also where a fork server is their parent (Python 3.14's default).
    """
    del worker
    if (main_process := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(main_process,), daemon=True).start()
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_FAREWELL_S))


def _end_with(main_process: BaseProcess) -> None:
    main_process.join()
    os._exit(1)
