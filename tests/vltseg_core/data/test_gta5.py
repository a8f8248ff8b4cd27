# SPDX-License-Identifier: Apache-2.0
"""GTA5 in its own layout: palette labels with full Cityscapes ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vltseg_core.data.data_sets import data_set
from vltseg_core.errors import InputError
from vltseg_core.labels import CITYSCAPES, IGNORE

GTA5 = data_set("gta5")


def test_palette_labels_become_the_published_classes(tmp_path: Path, write_frame, cityscapes_ids: dict[int, str]) -> None:
    values = np.arange(256).reshape(16, 16)
    image = write_frame(tmp_path / "images/00001.png", tmp_path / "labels/00001.png", values.tolist(), palette=True)
    labelled = GTA5.training_images(tmp_path)[0]
    assert np.array_equal(labelled.image, image)
    for value, code in zip(values.ravel().tolist(), labelled.codes.ravel().tolist(), strict=True):
        assert code == (CITYSCAPES.names.index(cityscapes_ids[value]) if value in cityscapes_ids else IGNORE), value


def test_training_takes_every_frame_and_measuring_every_fiftieth(tmp_path: Path, write_frame) -> None:
    for number in range(1, 103):
        write_frame(tmp_path / f"images/{number:05}.png", tmp_path / f"labels/{number:05}.png", [[7]])
    assert len(GTA5.training_images(tmp_path)) == 102
    val = set(GTA5.evaluation_set(tmp_path).frame_names)
    rest = {file.image.stem for file in GTA5.training_images(tmp_path, "train_without_val").files}
    assert val == {"00001", "00051", "00101"} and not val & rest and len(val | rest) == 102


def test_labels_of_another_size_are_an_error_of_that_frame(tmp_path: Path, write_frame) -> None:
    write_frame(tmp_path / "images/00001.png", tmp_path / "labels/00001.png", [[7, 7]])
    write_frame(tmp_path / "other.png", tmp_path / "labels/00001.png", [[7], [7]])
    with pytest.raises(InputError, match=r"00001.png' is 2x1 and its label file '.*00001.png' 1x2"):
        GTA5.training_images(tmp_path)[0]
