# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own: images, label PNGs of the same stems, and classes.yaml, which says what the label values mean.

Either {train,val,test}/{images,labels}, or {images,labels} alone, of which every eighth frame is then held out as "val".
classes.yaml gives each raw value a Cityscapes class, `ignore`, or the list of classes that it does not tell apart:

    0: road
    1: [car, truck, bus, train]
    2: ignore

A value that it leaves out counts for nothing. To measure, the classes of a list are one class: any of them is right.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from vltseg_core.data.data_set import DataSet, LabelMap, lookup
from vltseg_core.data.file_pairs import LabelledFile, hold_out, pair_files
from vltseg_core.data.labelled_images import CODE_MEMBERS, CODE_NAMES
from vltseg_core.errors import InputError
from vltseg_core.foreign_yaml import read_yaml, shown
from vltseg_core.labels import CITYSCAPES, IGNORE

HOLD_OUT_EVERY = 8

_CLASS_TABLE = "classes.yaml"
_EXAMPLE = "a line for each label value, such as '0: road', '1: [car, truck, bus, train]' or '2: ignore'"
_NAME_SETS = {frozenset(CITYSCAPES.names[i] for i in members): code for code, members in enumerate(CODE_MEMBERS)}


def _files(root: Path, split: str) -> list[LabelledFile]:
    if (root / split).is_dir() or not (root / "images").is_dir():
        return pair_files(root / split / "images", root / split / "labels")
    if split == "test":
        raise InputError(f"folder '{root}' holds images/ and labels/ alone, which are split in train and val: it has no test")
    return hold_out(pair_files(root / "images", root / "labels"), split, every=HOLD_OUT_EVERY)


def read_label_map(root: Path) -> LabelMap:
    """What the label values mean by the folder's classes.yaml; InputError says what to write there."""
    table = root / _CLASS_TABLE
    if not table.is_file():
        raise InputError(f"'{table}' is missing: write one with {_EXAMPLE}")
    try:
        meanings = read_yaml(table)
    except InputError as error:
        raise InputError(f"'{table}' is no YAML ({error}): write {_EXAMPLE}") from error
    if not isinstance(meanings, dict) or not meanings:
        raise InputError(f"'{table}' holds no table: write {_EXAMPLE}")
    return _label_map({_value(value, table): _code(meaning, table) for value, meaning in meanings.items()})


def _value(value: object, table: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise InputError(f"'{table}' has the label value {shown(value)}, expected a whole number from 0 to 255: write {_EXAMPLE}")
    return value


def _code(meaning: object, table: Path) -> int:
    if meaning == "ignore":
        return IGNORE
    names: list[Any] = meaning if isinstance(meaning, list) else [meaning]
    for name in names:
        if name not in CITYSCAPES.names:
            nearest = difflib.get_close_matches(shown(name).strip("'"), (*CITYSCAPES.names, "ignore"), n=1)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"choose from {', '.join(CITYSCAPES.names)}, ignore"
            raise InputError(f"'{table}' names the class {shown(name)}, which Cityscapes does not have: {hint}")
    if frozenset(names) not in _NAME_SETS:
        offered = "; ".join(name for name, members in zip(CODE_NAMES, CODE_MEMBERS, strict=True) if len(members) > 1)
        raise InputError(f"'{table}' puts {' or '.join(dict.fromkeys(names))} in one, expected one of these sets: {offered}")
    return _NAME_SETS[frozenset(names)]


def _label_map(codes: dict[int, int]) -> LabelMap:
    """Truth classes are the 19, those that some value does not tell apart being one."""
    used = {code for code in codes.values() if code != IGNORE}
    class_of = list(range(len(CITYSCAPES)))  # the code by which each train id is measured
    for code in sorted(used):
        for train_id in CODE_MEMBERS[code]:
            class_of[train_id] = max(code, class_of[train_id])
    measured = list(dict.fromkeys(class_of))
    place = {code: i for i, code in enumerate(measured)}
    to_truth = {train_id: place[code] for train_id, code in enumerate(class_of)}
    truth_of_code = {code: to_truth[CODE_MEMBERS[code][0]] for code in used}
    names = tuple(CODE_NAMES[code] for code in measured)
    shown = {truth_of_code[code] for code in used}
    return LabelMap(
        codes=lookup(codes),
        truth_names=names,
        truth=lookup({value: truth_of_code.get(code, IGNORE) for value, code in codes.items()}),
        to_truth=lookup(to_truth),
        mean_classes=tuple(name for i, name in enumerate(names) if i in shown),
    )


OWN_FOLDER = DataSet(
    name="folder",
    credit="a folder of one's own",
    files=_files,
    splits=("train", "val", "test"),
    label_map=read_label_map,
)
