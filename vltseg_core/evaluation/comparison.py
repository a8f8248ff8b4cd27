# SPDX-License-Identifier: Apache-2.0
"""Checkpoints side by side on the same targets, beside what others published, and the form of that in results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vltseg_core.errors import InputError
from vltseg_core.evaluation.published_numbers import PublishedNumber, published_for, sources_of
from vltseg_core.evaluation.target_result import TargetResult
from vltseg_core.evaluation.targets import SEVERITIES, Weather

FORMAT = "vltseg-evaluation/1"
RESULTS_FILE = "results.json"


class FramePicture(NamedTuple):
    """One frame's picture: a JPEG of image, labels and truth each. caption: which frame, and how good."""

    caption: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Measurement:
    """One checkpoint on one target, in simulated weather or without. name: the data set's; title: with its split.

    protocol: windows, test size and augmentation in words.
    """

    name: str
    title: str
    weather: Weather | None
    protocol: str
    result: TargetResult
    pictures: tuple[FramePicture, ...] = ()


@dataclass(frozen=True)
class CheckpointResults:
    """Everything measured of one checkpoint. network: label and value."""

    name: str
    trained_on: str
    network: tuple[tuple[str, str], ...]
    measurements: tuple[Measurement, ...]

    @property
    def plain(self) -> dict[str, Measurement]:
        """By title, those without simulated weather."""
        return {m.title: m for m in self.measurements if m.weather is None}

    def by_severity(self, title: str) -> dict[str, list[float]]:
        """By simulated condition, mIoU on one target as it is and at severities 1 to 5; NaN where it was not measured."""
        lines: dict[str, list[float]] = {}
        for measurement in self.measurements:
            if measurement.title == title and measurement.weather is not None:
                condition, severity = measurement.weather
                unmeasured = [self.plain[title].result.mean_iou, *[float("nan")] * len(SEVERITIES)]
                lines.setdefault(condition, unmeasured)[severity] = measurement.result.mean_iou
        return lines


class SummaryRow(NamedTuple):
    """values: mIoU by target and, last, their mean over the domains not trained on, 0..1, NaN where unknown."""

    name: str
    values: tuple[float, ...]
    is_published: bool
    protocol: str = ""


@dataclass(frozen=True)
class Comparison:
    """source_domains: names of data sets that are shown but left out of the mean over targets. machine: label and value."""

    checkpoints: tuple[CheckpointResults, ...]
    machine: tuple[tuple[str, str], ...]
    created: str
    source_domains: tuple[str, ...] = ()
    limit: int = 0

    @property
    def titles(self) -> tuple[str, ...]:
        """All targets, in the order of the command."""
        return tuple(dict.fromkeys(title for checkpoint in self.checkpoints for title in checkpoint.plain))

    @property
    def unseen_titles(self) -> tuple[str, ...]:
        """The targets that the domain generalisation (DG) mean is over."""
        return tuple(title for title in self.titles if self.target_name(title) not in self.source_domains)

    def target_name(self, title: str) -> str:
        """The data set of a target."""
        return next(c.plain[title].name for c in self.checkpoints if title in c.plain)

    def summary(self) -> list[SummaryRow]:
        """A row for each checkpoint, then one for each published method with figures for the same sources and targets."""
        rows = []
        for checkpoint in self.checkpoints:
            by_title = {title: m.result.mean_iou for title, m in checkpoint.plain.items()}
            rows.append(SummaryRow(checkpoint.name, self._with_mean(by_title), False))
        by_method: dict[str, dict[str, PublishedNumber]] = {}
        for title in self.titles:
            for number in self.published(title):
                if not number.condition:
                    by_method.setdefault(number.method, {})[title] = number
        for method, numbers in by_method.items():
            by_title = {title: number.mean_iou_percent / 100 for title, number in numbers.items()}
            protocols = "; ".join(f"{title}: {number.protocol}" for title, number in numbers.items())
            rows.append(SummaryRow(method, self._with_mean(by_title), True, protocols))
        return rows

    def published(self, title: str) -> tuple[PublishedNumber, ...]:
        """What others measured on that target with the sources of any of these checkpoints."""
        if title != self.target_name(title):
            return ()  # another split than the validation set
        name = self.target_name(title).removesuffix("_rein")
        sources = dict.fromkeys(sources_of(checkpoint.trained_on) for checkpoint in self.checkpoints)
        return tuple(number for source in sources if source for number in published_for(source, name))

    def _with_mean(self, by_title: Mapping[str, float]) -> tuple[float, ...]:
        """Values by target, and their mean where every unseen target has one and there are two or more."""
        values = [by_title.get(title, np.nan) for title in self.titles]
        unseen = [by_title.get(title, np.nan) for title in self.unseen_titles]
        return (*values, float(np.mean(unseen)) if len(unseen) > 1 else float("nan"))

    def remarks(self) -> list[str]:
        """What a reader must know to compare: unreadable and left out frames, protocols other than the published."""
        remarks = []
        if self.limit:
            remarks.append(f"At most {self.limit} frames of each target were used, evenly spread: no figure for a benchmark.")
        for checkpoint in self.checkpoints:
            for title, measurement in checkpoint.plain.items():
                result = measurement.result
                if result.unreadable:
                    names = ", ".join(list(result.unreadable)[:3])
                    more = f" and {len(result.unreadable) - 3} more" if len(result.unreadable) > 3 else ""
                    remarks.append(
                        f"{title}: {len(result.unreadable)} of {result.num_frames} frames could not be read and were passed "
                        f"over ({names}{more})."
                    )
                for protocol in dict.fromkeys(n.protocol for n in self._release_numbers(checkpoint, title)):
                    if not _same_protocol(protocol, measurement.protocol):
                        remarks.append(
                            f"{checkpoint.name} on {title} was measured with {measurement.protocol}; the published figures "
                            f"with {protocol}."
                        )
        for title in self.titles:
            plain = [checkpoint.plain[title] for checkpoint in self.checkpoints if title in checkpoint.plain]
            if len({measurement.result.mean_classes for measurement in plain}) > 1:
                remarks.append(f"{title}: the means are over other classes for one checkpoint than for another; compare classes.")
        if any("_rein" in self.target_name(title) for title in self.titles):
            remarks.append("mapillary_rein uses Rein's label map; VLTSeg's published figures use HRDA's (mapillary).")
        return list(dict.fromkeys(remarks))

    def _release_numbers(self, checkpoint: CheckpointResults, title: str) -> list[PublishedNumber]:
        sources = sources_of(checkpoint.trained_on)
        return [n for n in self.published(title) if n.sources == sources and n.method.startswith("VLTSeg ")]

    def to_dict(self) -> dict[str, Any]:
        """What results.json holds; pictures lie beside it."""
        titles = (*self.titles, "mean")
        rows = {r.name: dict(zip(titles, map(_number, r.values), strict=True)) for r in self.summary() if not r.is_published}
        return {
            "format": FORMAT,
            "created": self.created,
            "limit": self.limit,
            "source_domains": list(self.source_domains),
            "summary": rows,
            "remarks": self.remarks(),
            "machine": dict(self.machine),
            "checkpoints": [
                {
                    "name": checkpoint.name,
                    "trained_on": checkpoint.trained_on,
                    "network": dict(checkpoint.network),
                    "measurements": [
                        {
                            "target": measurement.name,
                            "title": measurement.title,
                            "weather": measurement.weather and measurement.weather._asdict(),
                            "protocol": measurement.protocol,
                            **measurement.result.to_dict(),
                        }
                        for measurement in checkpoint.measurements
                    ],
                }
                for checkpoint in self.checkpoints
            ],
        }

    @classmethod
    def read(cls, path: Path) -> Comparison:
        """A results.json (or the folder that holds one), without its pictures; InputError where it is something else."""
        file = path / RESULTS_FILE if path.is_dir() else path
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            if fields["format"] != FORMAT:
                raise InputError(f"'{file}' is of form {fields['format']!r}, expected {FORMAT}: evaluate again")
            return cls(
                checkpoints=tuple(
                    CheckpointResults(
                        c["name"],
                        c["trained_on"],
                        tuple(c["network"].items()),
                        tuple(
                            Measurement(
                                m["target"],
                                m["title"],
                                Weather(**m["weather"]) if m["weather"] else None,
                                m["protocol"],
                                TargetResult.from_dict(m),
                            )
                            for m in c["measurements"]
                        ),
                    )
                    for c in fields["checkpoints"]
                ),
                machine=tuple(fields["machine"].items()),
                created=fields["created"],
                source_domains=tuple(fields["source_domains"]),
                limit=fields["limit"],
            )
        except FileNotFoundError as error:
            raise InputError(f"'{file}' not found: give a results.json of training/evaluate.py, or its folder") from error
        except (KeyError, TypeError, ValueError, AttributeError, UnicodeDecodeError) as error:
            raise InputError(f"'{file}' is no results.json of training/evaluate.py ({error!r}): give another") from error


def joined_comparison(parts: Sequence[tuple[str, Comparison]]) -> Comparison:
    """Several runs as one; a checkpoint's name that is taken gets its run's label in front."""
    taken: set[str] = set()
    checkpoints = []
    for label, comparison in parts:
        for checkpoint in comparison.checkpoints:
            name = unique_name(f"{label}: {checkpoint.name}" if checkpoint.name in taken else checkpoint.name, taken)
            checkpoints.append(replace(checkpoint, name=name))
    domains = dict.fromkeys(domain for _, comparison in parts for domain in comparison.source_domains)
    newest = max((comparison for _, comparison in parts), key=lambda comparison: comparison.created)
    return Comparison(
        tuple(checkpoints), newest.machine, newest.created, tuple(domains), max(comparison.limit for _, comparison in parts)
    )


def unique_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken; notes it as taken."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name} {number}"
    taken.add(unique)
    return unique


def _same_protocol(published: str, own: str) -> bool:
    """Whether an own protocol in words says what a published one does; full resolution goes without saying there."""
    return set(published.split(", ")) | {"full resolution"} == set(own.split(", ")) | {"full resolution"}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
