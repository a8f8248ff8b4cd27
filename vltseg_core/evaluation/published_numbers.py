# SPDX-License-Identifier: Apache-2.0
"""What others measured, to set one's own figures against: mIoU in percent over the 19 Cityscapes classes."""

from __future__ import annotations

import re
from typing import NamedTuple

RELEASE = "VLTSeg public re-implementation, Zenodo record 14766160"
PAPER = "Hümmer et al., arXiv 2312.02021, as later papers quote it"


class PublishedNumber(NamedTuple):
    """One figure. sources: names of the data sets trained on. condition: "" for all of them pooled."""

    method: str
    sources: frozenset[str]
    target: str
    mean_iou_percent: float
    protocol: str
    reference: str
    condition: str = ""


_SYNTHETIC = "windows of 512 px, step 426, no TTA"
_REAL = "windows of 1024 px, step 768, full resolution, no TTA"
_RELEASE_SIZES = {"cityscapes": "images at 1024x512", "mapillary": "images at 1024x512", "acdc": "images at 960x540"}
_RELEASE_TABLE: tuple[tuple[str, tuple[str, ...], str, dict[str, float]], ...] = (
    ("gta_1", ("gta5",), _SYNTHETIC, {"acdc": 62.34, "bdd100k": 59.56, "cityscapes": 65.23, "mapillary": 66.07}),
    ("gta_2", ("gta5",), _SYNTHETIC, {"acdc": 60.12, "bdd100k": 60.16, "cityscapes": 66.69, "mapillary": 66.49}),
    ("synthia_1", ("synthia",), _SYNTHETIC, {"acdc": 49.88, "bdd100k": 50.66, "cityscapes": 56.85, "mapillary": 55.96}),
    ("acdc_1", ("acdc",), _REAL, {"acdc": 81.44, "bdd100k": 65.85, "cityscapes": 79.51, "mapillary": 75.56}),
    ("bdd100k_1", ("bdd100k",), _REAL, {"acdc": 72.05, "bdd100k": 71.43, "cityscapes": 77.74, "mapillary": 76.13}),
    ("cityscapes_1", ("cityscapes",), _REAL, {"acdc": 73.16, "bdd100k": 65.10, "cityscapes": 84.83, "mapillary": 76.81}),
    ("cityscapes_2", ("cityscapes",), _REAL, {"acdc": 73.92, "bdd100k": 65.84, "cityscapes": 85.60, "mapillary": 77.23}),
    ("mapillary_1", ("mapillary",), _REAL, {"acdc": 74.76, "bdd100k": 68.99, "cityscapes": 81.51, "mapillary": 84.01}),
    ("mapillary+cityscapes_2", ("mapillary", "cityscapes"), _REAL, {"cityscapes": 85.50}),
)

_LATER_WORK = (
    ("VLTSeg, the paper", (65.6, 58.4, 66.5), PAPER),
    ("Rein, DINOv2-L", (66.4, 60.4, 66.1), "Rein (Wei et al., 2024)"),
    ("TQDM, EVA02-CLIP-L", (68.88, 59.18, 70.10), "TQDM (Pak et al., 2024)"),
    ("MFuser, EVA02-CLIP-L and DINOv2-L", (70.19, 63.13, 71.28), "MFuser (2025)"),
    ("mask-guided refinement, DINOv2-L", (73.87, 62.91, 73.52), "mask-guided refinement at full resolution"),
)

_ADVERSE = (("Rein", (55.9, 79.5, 72.5, 70.6)), ("Vireo", (60.6, 82.3, 76.3, 76.2)))


def _numbers() -> tuple[PublishedNumber, ...]:
    numbers = []
    for name, sources, protocol, by_target in _RELEASE_TABLE:
        for target, value in by_target.items():
            size = _RELEASE_SIZES.get(target, "") if protocol == _SYNTHETIC else ""
            said = ", ".join(part for part in (protocol, size) if part)
            numbers.append(PublishedNumber(f"VLTSeg {name}", frozenset(sources), target, value, said, RELEASE))
    for method, values, reference in _LATER_WORK:
        for target, value in zip(("cityscapes", "bdd100k", "mapillary"), values, strict=True):
            numbers.append(PublishedNumber(method, frozenset({"gta5"}), target, value, "the authors' own", reference))
    for method, by_condition in _ADVERSE:
        for condition, value in zip(("night", "fog", "rain", "snow"), by_condition, strict=True):
            numbers.append(
                PublishedNumber(method, frozenset({"cityscapes"}), "acdc", value, "the authors' own", method, condition)
            )
    return tuple(numbers)


PUBLISHED_NUMBERS: tuple[PublishedNumber, ...] = _numbers()
"""Validation sets alone: the labels of test sets are withheld. The release's SYNTHIA figures are listed with all others,
over 19 classes; whether they are over the 16 that SYNTHIA shows, its table does not say."""

_NAMES_IN_CREDITS = ("gta5", "synthia", "cityscapes", "acdc", "bdd100k", "mapillary", "kitti", "camvid", "demo")


def sources_of(trained_on: str) -> frozenset[str]:
    """The data sets that a weights file's `trained_on` names, by the names of recipes and commands."""
    said = re.sub(r"rand-cityscapes", "", trained_on.lower())  # SYNTHIA-RAND-CITYSCAPES is not Cityscapes
    return frozenset(name for name in _NAMES_IN_CREDITS if re.search(rf"\b{name}\b", said))


def published_for(sources: frozenset[str], target: str) -> tuple[PublishedNumber, ...]:
    """The figures of networks trained on exactly these data sets and measured on that target, pooled ones first."""
    found = [n for n in PUBLISHED_NUMBERS if n.sources == sources and n.target == target]
    return tuple(sorted(found, key=lambda number: number.condition != ""))
