# SPDX-License-Identifier: Apache-2.0
"""What a network is trained and measured on: a weighted mix of sources, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vltseg_core.data import demo_images
from vltseg_core.data.data_sets import DATA_SETS
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage, LabelledImages
from vltseg_core.data.transforms import Augmentation
from vltseg_core.data.weather import simulate_weather
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.segmentation_task import TrainingBatch

_WEATHER = tuple(c for c in CONDITIONS if c != "clear")


class MixedSources(Dataset[TrainingBatch]):
    """Sample i of an endless training run: its source, frame and augmentation follow from (seed, i) alone."""

    def __init__(
        self, sources: dict[str, LabelledImages], weights: dict[str, float], augmentation: Augmentation, *,
        weather_share: float, seed: int,
    ) -> None:  # fmt: skip
        self._sources = list(sources.values())
        shares = np.array([weights[name] for name in sources], float)
        self._shares = shares / shares.sum()
        self._augmentation, self._weather_share, self._seed = augmentation, weather_share, seed

    def __getitem__(self, sample: int) -> TrainingBatch:
        rng = np.random.default_rng((self._seed, sample))
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        labelled = self._augmentation(source[int(rng.integers(len(source)))], rng)
        image = labelled.image
        if rng.random() < self._weather_share:
            condition = _WEATHER[rng.integers(len(_WEATHER))]
            severity = int(rng.integers(1, 6))
            image = simulate_weather(image, condition, severity=severity, rng=rng, depth_m=labelled.depth_m)
        return TrainingBatch(torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(labelled.codes))


class _StepSampler(Sampler[int]):
    """Sample numbers from the current step on, so that a resumed run goes on where it stopped."""

    def __init__(self, module: SourcesDataModule) -> None:
        self._module = module

    def __iter__(self) -> Iterator[int]:
        trainer, module = self._module.trainer, self._module
        first = trainer.global_step * module.batch_size if trainer else 0
        return iter(range(first, first + len(self)))

    def __len__(self) -> int:
        return self._module.steps_per_epoch * self._module.batch_size


class SourcesDataModule(pl.LightningDataModule):
    """Training samples mixed from several sources, and the sets to validate on.

    Args:
        roots: folders of the data sets on disk, by name (camvid, kitti). A source without a folder is left out.
        weights: how often each source is drawn, relative to the others; "demo" are the drawn scenes.
        batch_size: images in a step. crop_size: side of the square crop in pixels.
        scales: smallest and largest random enlargement.
        num_demo_images: clear drawn frames to train on, each of another street.
        weather_share: share of the samples that get simulated weather.
        steps_per_epoch: steps between validations.
        num_demo_validation_images: drawn frames of unseen streets to validate on, in each condition.
        num_workers: processes that prepare samples.
        seed: of everything drawn by chance.
    """

    def __init__(
        self,
        roots: dict[str, str] | None = None,
        weights: dict[str, float] | None = None,
        *,
        batch_size: int = 8,
        crop_size: int = 320,
        scales: tuple[float, float] = (0.75, 2.0),
        num_demo_images: int = 20_000,
        weather_share: float = 0.0,
        steps_per_epoch: int = 500,
        num_demo_validation_images: int = 8,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.roots = {name: Path(folder) for name, folder in (roots or {}).items()}
        self.weights = weights or {"demo": 1.0}
        for name in (*self.roots, *self.weights):
            if name not in (*DATA_SETS, "demo"):
                raise ConfigurationError(f"unknown data source '{name}': choose from demo, {', '.join(DATA_SETS)}")
        self.batch_size, self.steps_per_epoch, self.num_workers = batch_size, steps_per_epoch, num_workers
        self.num_demo_images, self.num_demo_validation_images = num_demo_images, num_demo_validation_images
        self.augmentation = Augmentation(crop_size, (scales[0], scales[1]))
        self.weather_share, self.seed = weather_share, seed
        self.evaluation_sets: dict[str, EvaluationSet] = {}

    @property
    def source_names(self) -> list[str]:
        """The sources that are really drawn from."""
        return [name for name, w in self.weights.items() if w > 0 and (name == "demo" or name in self.roots)]

    def setup(self, stage: str) -> None:
        del stage
        self.evaluation_sets = {n: DATA_SETS[n].evaluation_set(self.roots[n]) for n in self.source_names if n != "demo"}
        for condition in CONDITIONS:
            num_images = self.num_demo_validation_images
            self.evaluation_sets[f"demo-{condition}"] = demo_images.evaluation_set(condition, num_images)

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        sources: dict[str, LabelledImages] = {}
        for name in self.source_names:
            on_disk = name != "demo"
            sources[name] = DATA_SETS[name].training_images(self.roots[name]) if on_disk else self._demo_images()
        mixed = MixedSources(sources, self.weights, self.augmentation, weather_share=self.weather_share, seed=self.seed)
        return DataLoader(
            mixed,
            batch_size=self.batch_size,
            sampler=_StepSampler(self),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            prefetch_factor=4 if self.num_workers else None,
            worker_init_fn=_use_one_thread,
        )

    def _demo_images(self) -> LabelledImages:
        return demo_images.DemoImages(self.num_demo_images)

    def val_dataloader(self) -> list[DataLoader[LabelledImage]]:
        return [
            DataLoader(s.images, batch_size=None, collate_fn=_as_it_is)  # type: ignore[arg-type]  # only len and [] needed
            for s in self.evaluation_sets.values()
        ]


def _as_it_is(labelled: LabelledImage) -> LabelledImage:
    return labelled


def _use_one_thread(worker: int) -> None:
    del worker
    cv2.setNumThreads(0)
