# SPDX-License-Identifier: Apache-2.0
"""Several bags' results as one: counts add exactly, conditions of the same name pool, drives stay each bag's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from vltseg_core.errors import InputError
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_core.evaluation.calibration import Calibration
from vltseg_core.evaluation.sequence_result import ResultGroup, SequenceResult
from vltseg_core.labels import ClassTable, SemanticClass

Labelled = tuple[tuple[str, str], ...]


class NamedBag(NamedTuple):
    """One bag's result under a name that no other bag of the fleet has."""

    name: str
    result: BagResult


def merge(bags: Sequence[NamedBag]) -> BagResult:
    """One result of all bags, in their order.

    Each drive is called `bag: drive`, so that drives of the same name in two bags stay two (and the intervals are drawn
    from both); a condition's frames are those of that name in every bag. IoU is over one set of classes: that of most
    evaluated frames; ground truth in other classes is left out, and a remark says so.
    Raises InputError for no bag, for a name given twice, and for bags that were not played alike.
    """
    if not bags:
        raise InputError("there is no bag's result to merge: evaluate at least one bag")
    twice = [name for name, count in Counter(bag.name for bag in bags).items() if count > 1]
    if twice:
        raise InputError(f"two bags have the name '{twice[0]}': their drives would fall together, name them apart")
    first = bags[0].result
    for name, result in bags:
        if (result.lossless, result.rate, result.min_confidence) != (first.lossless, first.rate, first.min_confidence):
            raise InputError(
                f"bag '{name}' was not played as '{bags[0].name}' (lossless, rate or min_confidence differ): evaluate both alike"
            )
    classes = _common_classes(bags)
    remarks = [f"{name}: {remark}" for name, result in bags for remark in result.remarks]
    remarks += [
        f"{name}: its ground truth has other classes than most of the fleet's, so it counts in no IoU of this page."
        for name, result in bags
        if _has_other_truth(result, classes)
    ]
    drawn = [name for name, result in bags if result.drawn]
    if drawn and len(drawn) < len(bags):
        remarks.append(f"Drawn scenes are among the pictures of cameras: {', '.join(drawn)}.")
    return BagResult(
        source=f"{len(bags)} bags: {', '.join(bag.name for bag in bags)}",
        lossless=first.lossless,
        rate=first.rate,
        min_confidence=first.min_confidence,
        drawn=bool(drawn),
        classes=classes,
        sequences=tuple(sequence for bag in bags for sequence in _own_sequences(bag, classes)),
        playing_s=sum(bag.result.playing_s for bag in bags),
        network=_joined([bag.result.network for bag in bags]),
        machine=_joined([bag.result.machine for bag in bags]),
        remarks=tuple(remarks),
    )


def _own_sequences(bag: NamedBag, classes: ClassTable) -> list[SequenceResult]:
    """The bag's drives under their fleet's names; without accuracy where it is in other classes."""
    named = [replace(one, sequence=f"{bag.name}: {one.sequence}" if one.sequence else bag.name) for one in bag.result.sequences]
    if _has_other_truth(bag.result, classes):
        return [replace(one, blocks=[], calibration=Calibration()) for one in named]
    return named


def _has_other_truth(result: BagResult, classes: ClassTable) -> bool:
    return result.has_truth and result.classes.classes != classes.classes


def _common_classes(bags: Sequence[NamedBag]) -> ClassTable:
    """The classes that most evaluated frames are in; the first such, or the first bag's where nothing was evaluated."""
    tables = {bag.result.classes.classes: bag.result.classes for bag in reversed(bags)}
    num_evaluated: Counter[tuple[SemanticClass, ...]] = Counter()
    for bag in bags:
        confusion = ResultGroup("", bag.result.sequences).confusion
        num_evaluated[bag.result.classes.classes] += confusion.num_images if confusion is not None else 0
    return tables[max(num_evaluated, key=lambda classes: num_evaluated[classes])]


def _joined(of_bags: Sequence[Labelled]) -> Labelled:
    """Each label once, with every value that a bag has for it."""
    values: dict[str, dict[str, None]] = {}
    for labelled in of_bags:
        for label, value in labelled:
            values.setdefault(label, {})[value] = None
    return tuple((label, " / ".join(found)) for label, found in values.items())
