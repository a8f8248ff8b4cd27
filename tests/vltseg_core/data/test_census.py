# SPDX-License-Identifier: Apache-2.0
"""Pixels are counted by class and frame, once, and what cannot be read is named and passed over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vltseg_core.data import census
from vltseg_core.data.census import class_counts, take_census
from vltseg_core.data.data_set import FilesOnDisk
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.labelled_images import CODE_MEMBERS, VEHICLE
from vltseg_core.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path, write_frame) -> FilesOnDisk:
    """Three frames of CamVid: 8 is its car, 11 unlabelled."""
    for stem, values in (("a", [[8, 8, 3]]), ("b", [[11, 11]]), ("c", [[3], [3], [8], [9]])):
        write_frame(tmp_path / f"train/images/{stem}.png", tmp_path / f"train/labels/{stem}.png", values)
    return data_set("camvid").training_images(tmp_path)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_every_frame_is_counted_by_label_code_in_order(files: FilesOnDisk, num_workers: int) -> None:
    counts = class_counts(files, num_workers=num_workers)
    assert counts.shape == (3, len(CODE_MEMBERS)) and counts.dtype == np.int64
    assert counts[:, 0].tolist() == [1, 0, 2] and counts[:, VEHICLE].tolist() == [2, 0, 1] and counts[:, 11].tolist() == [0, 0, 1]
    assert counts.sum() == 7


def test_counts_are_kept_until_a_label_file_changes(files: FilesOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = class_counts(files)
    with monkeypatch.context() as patched:
        patched.setattr(census, "_count_labels", lambda *_: pytest.fail("counted again"))
        assert np.array_equal(class_counts(files), first)
    os.utime(files.files[0].labels, (0, 0))
    files.files[0].labels.write_bytes(files.files[1].labels.read_bytes())
    assert class_counts(files)[0].sum() == 0


def test_counts_of_another_label_map_are_not_taken_for_these(files: FilesOnDisk) -> None:
    class_counts(files)
    as_truth = FilesOnDisk(files.files, np.arange(256, dtype=np.uint8), files.data_set)
    assert class_counts(as_truth)[0, 8] == 2


def test_a_damaged_file_in_the_cache_is_counted_again(files: FilesOnDisk, own_cache: Path) -> None:
    first = class_counts(files)
    (kept,) = (own_cache / "class_counts").iterdir()
    kept.write_bytes(b"half")
    assert np.array_equal(class_counts(files), first)


def test_a_broken_label_file_shows_nothing_and_a_broken_image_does_not_matter_to_the_counts(files: FilesOnDisk) -> None:
    files.files[0].labels.write_bytes(b"")
    files.files[2].image.write_bytes(b"")
    assert class_counts(files).sum(axis=1).tolist() == [0, 0, 4]


def test_what_could_not_be_read_once_is_counted_when_it_can_be(files: FilesOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:

        def fail(*_: object) -> None:
            raise InputError("the disk is away")

        away.setattr(FilesOnDisk, "codes", fail)
        assert class_counts(files).sum() == 0
    counts = class_counts(files)
    assert counts.sum() > 0


def test_of_a_set_with_a_broken_file_only_that_one_is_tried_again(files: FilesOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, codes, read = class_counts(files), FilesOnDisk.codes, []
    census.cache_folder().rename(census.cache_folder().with_name("elsewhere"))

    def noted(self: FilesOnDisk, index: int) -> object:
        read.append(index)
        if index == 2 and len(read) < 5:
            raise InputError("the disk is away")
        return codes(self, index)

    monkeypatch.setattr(FilesOnDisk, "codes", noted)
    for expected_reads in ([0, 1, 2], [2], [2], []):
        counts, read_now = class_counts(files, num_workers=1), read[:]
        assert read_now[-len(expected_reads) :] == expected_reads or not expected_reads
        assert (counts[:2] == whole[:2]).all() and counts.min() >= 0
    assert (counts == whole).all() and len(read) == 5


def test_the_census_reads_images_too_and_names_what_is_broken(files: FilesOnDisk) -> None:
    files.files[2].image.write_bytes(b"")
    seen: list[tuple[int, int]] = []
    taken = take_census(files, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert taken.sizes == [(1, 3), (1, 2), (0, 0)] and list(taken.problems) == [2] and "c.png" in taken.problems[2]


def test_an_interrupt_leaves_the_queue_unread(files: FilesOnDisk) -> None:
    many = FilesOnDisk(files.files * 500, files.lookup, files.data_set)
    read: list[int] = []
    monkeyed = many.codes
    many.codes = lambda index: read.append(index) or monkeyed(index)  # type: ignore[method-assign]  # to see what is read

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_census(many, interrupt, num_workers=2)
    assert len(read) < 1000


def test_a_label_file_that_went_away_is_an_input_error(files: FilesOnDisk) -> None:
    files.files[0].labels.unlink()
    with pytest.raises(InputError, match="a.png"):
        files[0]
    assert class_counts(files)[0].sum() == 0
