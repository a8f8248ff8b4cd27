# SPDX-License-Identifier: Apache-2.0
"""Do two domains' dense features meet at their class's text, and did training bring them there?

The paper explains its results by that (VLTSeg, section 1) and shows no measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vltseg_core.analysis.cluster_scores import (
    DomainFeatures,
    Estimate,
    Floats,
    FrameBootstrap,
    cross_domain_silhouette,
    domain_is_told,
    nearest_text_is_right,
    silhouette,
)
from vltseg_core.analysis.domain_samples import Domain, DomainSample, sample
from vltseg_core.analysis.networks import network_before, trained_network
from vltseg_core.checkpoints.native import Checkpoint
from vltseg_core.errors import ConfigurationError
from vltseg_core.runtime import device as devices
from vltseg_core.runtime.segmenter import Segmenter

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class AlignmentSettings:
    """What to compare. domains: two, as `Domain.parse` takes them. before: see `network_before`; after: a trained network."""

    domains: tuple[str, ...]
    before: str
    after: str
    max_images: int = 60
    points_per_class: int = 150
    seed: int = 0
    device: str = "auto"


class Stage(NamedTuple):
    """One network's view: its features of both domains, and its class embeddings, float64 [K, D]."""

    name: str
    points: DomainFeatures
    texts: Floats


class ScoreRow(NamedTuple):
    """One score before and after training, and the change between them on the same draws of frames."""

    key: str
    title: str
    meaning: str
    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True)
class AlignmentReport:
    """Everything that the page and the JSON file say."""

    settings: AlignmentSettings
    sample: DomainSample
    stages: tuple[Stage, Stage]
    scores: tuple[ScoreRow, ...]
    by_class: dict[str, dict[str, tuple[float | None, float | None]]]
    """Score by key and class name: before and after."""

    def score(self, key: str) -> ScoreRow:
        """The score of that key."""
        return next(row for row in self.scores if row.key == key)

    @property
    def sentences(self) -> list[str]:
        """What the scores mean, for someone who sees no table."""
        a, b = (domain.name for domain in self.sample.domains)
        meet, told = self.score("cross_domain_silhouette"), self.score("domain_separability")
        texts = [self.score(f"nearest_text_{d}") for d in (0, 1)]
        lies = "nearer to their own class" if meet.after.low > 0 else "not surely nearer to their own class"
        return [
            f"After training, features of one domain lie {lies} of the other domain than to other classes there: silhouette "
            f"{meet.before.value:.2f} before, {meet.after.value:.2f} after ({_moved(meet.change)}).",
            f"Within a class, the domain of a feature is told right {100 * told.before.value:.0f} % of the time before and "
            f"{100 * told.after.value:.0f} % after, where chance is 50 % ({_moved(told.change)}): a class of {a} and of {b} "
            + ("can still be told apart." if told.after.low > 0.5 else "cannot surely be told apart."),
            f"The nearest text is the right class for {100 * texts[0].after.value:.0f} % of the features of {a} "
            f"({100 * texts[0].before.value:.0f} % before) and for {100 * texts[1].after.value:.0f} % of {b} "
            f"({100 * texts[1].before.value:.0f} % before).",
        ]

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        settings, drawn = self.settings, self.sample
        return {
            "domains": [domain.name for domain in drawn.domains],
            "before": settings.before,
            "after": settings.after,
            "seed": settings.seed,
            "images": drawn.num_images,
            "points": len(self.stages[0].points.classes),
            "classes": [group.name for group in drawn.groups],
            "classes_left_out": list(drawn.left_out),
            "unreadable": list(drawn.unreadable),
            "scores": {
                row.key: {when: getattr(row, when)._asdict() for when in ("before", "after", "change")} for row in self.scores
            },
            "by_class": self.by_class,
            "meaning": self.sentences,
        }


def _moved(change: Estimate) -> str:
    interval = f"by {change.value:+.2f}, 95 % {change.low:+.2f} to {change.high:+.2f}"
    return f"changed {interval}" if change.low > 0 or change.high < 0 else f"no sure change, {interval}"


def analyse_alignment(settings: AlignmentSettings, progress: Progress = lambda *_: None) -> AlignmentReport:
    """Sample two domains, embed them with both networks, and score how they lie."""
    if len(settings.domains) != 2:
        raise ConfigurationError(f"{len(settings.domains)} domains given, the comparison is of two: give --data twice")
    a, b = (Domain.parse(text) for text in settings.domains)
    after = trained_network(settings.after)
    networks = {"before": network_before(settings.before, after, settings.seed), "after": after}
    for checkpoint, name in zip(networks.values(), (settings.before, settings.after), strict=True):
        if checkpoint.network.config.pixel_text is None:
            raise ConfigurationError(
                f"'{name}' is matched to no text, so there is no alignment to study: use one with pixel_text"
            )
    count = _Counter(progress, "Sampling", sum(min(settings.max_images, len(domain.images)) for domain in (a, b)))
    drawn = sample(
        (a, b), max_images=settings.max_images, points_per_class=settings.points_per_class, seed=settings.seed, on_image=count
    )
    most = after.network.config.inference.max_input_pixels  # the same for both, or they do not compare
    before_stage, after_stage = (
        _stage(name, checkpoint, drawn, settings.device, most, progress) for name, checkpoint in networks.items()
    )
    return _report(settings, drawn, (before_stage, after_stage))


class _Counter:
    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._done, self._total = progress, what, 0, total
        progress(what, 0, total)

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._what, self._done, self._total)


def _stage(
    name: str, checkpoint: Checkpoint, drawn: DomainSample, device: str, max_input_pixels: int, progress: Progress
) -> Stage:
    chosen = devices.resolve_device(device)
    segmenter = Segmenter(
        checkpoint, source=name, device=chosen, precision="fp32", input_size=None, max_input_pixels=max_input_pixels
    )
    try:
        points = drawn.features(segmenter.embed, _Counter(progress, f"Embedding, {name}", drawn.num_images))
        return Stage(name, points, segmenter.class_embeddings.astype(np.float64))
    finally:
        segmenter.close()


class _Score(NamedTuple):
    """domain: the one it is of, None for both. values: of each point, float64 [N]."""

    key: str
    title: str
    meaning: str
    domain: int | None
    values: Callable[[Stage], Floats]


def _scores(drawn: DomainSample) -> list[_Score]:
    def nearest_text(stage: Stage) -> Floats:
        return nearest_text_is_right(stage.points, stage.texts, [group.members for group in drawn.groups])

    scores = [
        _Score("silhouette", "Silhouette by class", "both domains together; 1: tight classes, far apart; 0: none", None,
               lambda stage: silhouette(stage.points)),
        _Score("cross_domain_silhouette", "Silhouette across domains",
               "over 0: a class lies with its own class of the other domain", None,
               lambda stage: cross_domain_silhouette(stage.points)),
        _Score("domain_separability", "Domain told within a class", "share right, by the nearer mean; chance: 0.5", None,
               lambda stage: domain_is_told(stage.points)),
    ]  # fmt: skip
    for number, domain in enumerate(drawn.domains):
        meaning = "share of features whose nearest text is their class's"
        scores.append(_Score(f"nearest_text_{number}", f"Nearest text right, {domain.name}", meaning, number, nearest_text))
    return scores


def _report(settings: AlignmentSettings, drawn: DomainSample, stages: tuple[Stage, Stage]) -> AlignmentReport:
    points = stages[0].points
    bootstrap = FrameBootstrap(points, seed=settings.seed)
    rows, by_class = [], {}
    for score in _scores(drawn):
        before, after = (score.values(stage) for stage in stages)
        of = score.domain
        rows.append(
            ScoreRow(
                score.key,
                score.title,
                score.meaning,
                bootstrap.mean(before, domain=of),
                bootstrap.mean(after, domain=of),
                bootstrap.change(before, after, domain=of),
            )
        )
        asked = (points.domains == of) if of is not None else np.ones(len(points.domains), bool)
        by_class[score.key] = {
            group.name: (_mean(before[asked & (points.classes == n)]), _mean(after[asked & (points.classes == n)]))
            for n, group in enumerate(drawn.groups)
        }
    return AlignmentReport(settings, drawn, stages, tuple(rows), by_class)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return round(float(known.mean()), 4) if known.size else None
