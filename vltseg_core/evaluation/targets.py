# SPDX-License-Identifier: Apache-2.0
"""What to evaluate on, as given on a command line: NAME[:SPLIT][@WEATHER:SEVERITY]=FOLDER or demo[:CONDITION]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from vltseg_core.data import demo_images
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage, LabelledImages
from vltseg_core.data.weather import WEATHER_CONDITIONS
from vltseg_core.data.weathered_images import WeatheredImages
from vltseg_core.errors import ConfigurationError

DEMO = "demo"
NUM_DEMO_IMAGES = 24
"""Drawn frames a condition."""

SEVERITIES = (1, 2, 3, 4, 5)


class Weather(NamedTuple):
    """Simulated weather. severity: 1 (light) to 5 (heavy)."""

    condition: str
    severity: int


@dataclass(frozen=True)
class Target:
    """A data set's split, in simulated weather where one is given. text: as it was given."""

    text: str
    name: str
    split: str
    evaluation_set: EvaluationSet
    weather: Weather | None = None

    @property
    def title(self) -> str:
        """Name and, where it is not the usual one, split; the weather, if there is one."""
        plain = self.name if self.split in ("val", "") else f"{self.name} {self.split}"
        return f"{plain} in {self.weather.condition} {self.weather.severity}" if self.weather else plain


def parse_target(text: str, num_demo_images: int = NUM_DEMO_IMAGES) -> Target:
    """The target of a text; ConfigurationError or InputError says what is wrong with it."""
    given, _, folder = text.partition("=")
    place, has_weather, in_words = given.partition("@")
    name, _, split = place.partition(":")
    weather = _one_weather(in_words) if has_weather else None
    if name == DEMO:
        return Target(text, DEMO, split, in_weather(_demo_set(split, num_demo_images), weather), weather)
    found = data_set(name)
    if not folder:
        raise ConfigurationError(f"target '{text}' has no folder: give {given}=FOLDER, the folder it was unpacked to")
    split = split or "val"
    return Target(text, name, split, in_weather(found.evaluation_set(Path(folder).expanduser(), split), weather), weather)


def parse_targets(texts: Sequence[str], num_demo_images: int = NUM_DEMO_IMAGES) -> tuple[Target, ...]:
    """The targets of several texts; ConfigurationError also where two of them would have one title."""
    targets = tuple(parse_target(text, num_demo_images) for text in texts)
    titles = [target.title for target in targets]
    twice = [title for i, title in enumerate(titles) if title in titles[:i]]
    if twice:
        raise ConfigurationError(f"target '{twice[0]}' is given twice: take the two folders one after the other")
    return targets


def _one_weather(text: str) -> Weather:
    weathers = parse_weather(text)
    if len(weathers) != 1:
        raise ConfigurationError(f"weather '{text}' of a target must be one at one severity, such as night:3")
    return weathers[0]


def parse_weather(text: str) -> tuple[Weather, ...]:
    """Weather as in "night:3,fog" or "all": conditions by name, each at the severity given, or at all five."""
    known = [condition for condition in WEATHER_CONDITIONS if condition != "clear"]
    weathers: list[Weather] = []
    for part in text.split(","):
        condition, _, severity = part.strip().partition(":")
        if condition not in ("all", *known):
            raise ConfigurationError(f"unknown weather '{condition}': use all, or some of {', '.join(known)}")
        if severity not in ("", *map(str, SEVERITIES)):
            raise ConfigurationError(f"severity '{severity}' of {condition} is not a whole number from 1 to 5")
        for name in known if condition == "all" else [condition]:
            weathers += [Weather(name, s) for s in ([int(severity)] if severity else SEVERITIES)]
    return tuple(dict.fromkeys(weathers))


def in_weather(evaluation_set: EvaluationSet, weather: Weather | None, seed: int = 0) -> EvaluationSet:
    """The same frames and truths, in simulated weather where one is given."""
    if weather is None:
        return evaluation_set
    images = WeatheredImages(evaluation_set.images, weather.condition, weather.severity, seed=seed)
    return evaluation_set._replace(images=images)


class JoinedImages:
    """Several sets of images as one, one after the other."""

    def __init__(self, parts: Sequence[LabelledImages]) -> None:
        self._parts = tuple(parts)
        self._ends = tuple(accumulate(len(part) for part in self._parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> LabelledImage:
        place = next(i for i, end in enumerate(self._ends) if index < end)
        return self._parts[place][index - (self._ends[place - 1] if place else 0)]


def _demo_set(condition: str, num_images: int) -> EvaluationSet:
    if condition and condition not in CONDITIONS:
        raise ConfigurationError(f"unknown condition '{condition}' of the demo: use one of {', '.join(CONDITIONS)}")
    parts = [demo_images.evaluation_set(name, num_images) for name in ([condition] if condition else CONDITIONS)]
    return EvaluationSet(
        JoinedImages([part.images for part in parts]),
        parts[0].class_names,
        parts[0].to_truth_classes,
        tuple(name for part in parts for name in part.frame_names),
        tuple(name for part in parts for name in part.conditions),
    )


def with_mean_over(target: Target, class_names: Sequence[str]) -> Target:
    """The same target, its means over these classes; ConfigurationError where it does not tell one of them apart."""
    for name in class_names:
        if name not in target.evaluation_set.class_names:
            raise ConfigurationError(
                f"target '{target.name}' has no class '{name}' to take a mean over: it has "
                f"{', '.join(target.evaluation_set.class_names)}"
            )
    return Target(target.text, target.name, target.split, target.evaluation_set._replace(mean_classes=tuple(class_names)))
