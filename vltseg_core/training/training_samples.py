# SPDX-License-Identifier: Apache-2.0
"""The samples of a training run, each of which follows from the run's seed and its own number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from vltseg_core.data.copy_paste import paste_things
from vltseg_core.data.labelled_images import LabelledImage, LabelledImages
from vltseg_core.data.style_randomisation import random_camera, random_style
from vltseg_core.data.transforms import Augmentation
from vltseg_core.data.weather import WEATHER_CONDITIONS, simulate_weather
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import IGNORE
from vltseg_core.training.rare_classes import RareClasses

_WEATHER = tuple(condition for condition in WEATHER_CONDITIONS if condition != "clear")
_MAX_DRAWS = 16


class TrainingBatch(NamedTuple):
    """images: uint8 [B, 3, H, W] RGB. codes: label codes, uint8 [B, H, W].

    seeds: of what is drawn by chance for each image later on, B of them. failures: why draws were given up, one a draw.
    """

    images: Tensor
    codes: Tensor
    seeds: tuple[int, ...] | None = None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Images to train on, how often they are drawn relative to other sources, and by which classes, if by any."""

    images: LabelledImages
    weight: float
    rare_classes: RareClasses | None = None


@dataclass(frozen=True)
class Variety:
    """Shares of the samples, 0 to 1, that are changed further.

    paste: get things of another sample. style: a random convolution mixed in. weather: simulated weather. camera: another
    camera's exposure, blur, noise and compression. In this order, each independently of the others.
    """

    paste: float = 0.0
    style: float = 0.0
    weather: float = 0.0
    camera: float = 0.0


class MixedSources(Dataset[TrainingBatch]):
    """Sample i of an endless run: its source, frame and augmentation follow from (seed, i).

    A file that cannot be read is given up and another draw made, which follows from (seed, i, attempt).
    """

    def __init__(self, sources: Sequence[Source], augmentation: Augmentation, *, variety: Variety, seed: int) -> None:
        self._sources = tuple(sources)
        weights = np.array([source.weight for source in sources], float)
        self._shares = weights / weights.sum()
        self._augmentation, self._variety, self._seed = augmentation, variety, seed

    def __getitem__(self, sample: int) -> TrainingBatch:
        """A batch of one: image, codes, seed, and the failures on the way to it."""
        failures: list[str] = []
        for attempt in range(_MAX_DRAWS):
            rng = np.random.default_rng((self._seed, sample, attempt) if attempt else (self._seed, sample))
            try:
                labelled = self._draw(rng)
                break
            except InputError as error:
                failures.append(str(error))
        else:  # the run ends by itself where so many draws fail
            side = self._augmentation.crop_size
            labelled = LabelledImage(np.zeros((side, side, 3), np.uint8), np.full((side, side), IGNORE, np.uint8))
        image = torch.from_numpy(labelled.image).permute(2, 0, 1).contiguous()
        return TrainingBatch(image[None], torch.from_numpy(labelled.codes)[None], (self._seed_of(sample),), tuple(failures))

    def _draw(self, rng: np.random.Generator) -> LabelledImage:
        labelled, variety = self._crop(rng), self._variety
        if variety.paste and rng.random() < variety.paste:
            labelled = paste_things(labelled, self._crop(rng), rng)
        if variety.style and rng.random() < variety.style:
            labelled = labelled._replace(image=random_style(labelled.image, rng))
        if rng.random() < variety.weather:
            condition = _WEATHER[rng.integers(len(_WEATHER))]
            severity = int(rng.integers(1, 6))
            varied = simulate_weather(labelled.image, condition, severity=severity, rng=rng, depth_m=labelled.depth_m)
            labelled = labelled._replace(image=varied)
        if variety.camera and rng.random() < variety.camera:
            labelled = labelled._replace(image=random_camera(labelled.image, rng))
        return labelled

    def _crop(self, rng: np.random.Generator) -> LabelledImage:
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        if source.rare_classes is None:
            return self._augmentation(source.images[int(rng.integers(len(source.images)))], rng)
        image_number, code = source.rare_classes.draw(rng)
        return self._augmentation(source.images[image_number], rng, wanted_code=code)

    def _seed_of(self, sample: int) -> int:
        return int(np.random.SeedSequence((self._seed, sample)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def joined(samples: Sequence[TrainingBatch]) -> TrainingBatch:
    """Batches of one as one batch."""
    return TrainingBatch(
        torch.cat([sample.images for sample in samples]),
        torch.cat([sample.codes for sample in samples]),
        tuple(seed for sample in samples for seed in sample.seeds or ()),
        tuple(failure for sample in samples for failure in sample.failures),
    )


@dataclass(frozen=True)
class Share:
    """One process's part in a run: `rank` of `num_processes`, each step in `num_passes` passes whose gradients add up."""

    rank: int = 0
    num_processes: int = 1
    num_passes: int = 1

    def images_a_pass(self, batch_size: int) -> int:
        """Images in one pass of one process; ConfigurationError where a step's images cannot be shared out evenly."""
        parts = self.num_processes * self.num_passes
        if batch_size % parts:
            raise ConfigurationError(
                f"batch_size {batch_size} cannot be shared by {self.num_processes} processes in {self.num_passes} passes each: "
                f"give a multiple of {parts}"
            )
        return batch_size // parts


class StepBatches(Sampler[list[int]]):
    """Sample numbers of a process's passes, from the current one to the run's last.

    Step s takes samples s B to s B + B - 1, B being the images in a step, however many processes share them.

    Args:
        batch_size: B. num_steps: of the whole run. share: this process's. first_pass: the pass that comes next.
    """

    def __init__(self, batch_size: int, num_steps: int, share: Share, *, first_pass: Callable[[], int]) -> None:
        self._images = share.images_a_pass(batch_size)
        self._num_passes, self._share, self._first_pass = num_steps * share.num_passes, share, first_pass

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._first_pass(), self._num_passes):
            first = (number * self._share.num_processes + self._share.rank) * self._images
            yield list(range(first, first + self._images))

    def __len__(self) -> int:
        """Passes of the whole run, those before a resumption included."""
        return self._num_passes
