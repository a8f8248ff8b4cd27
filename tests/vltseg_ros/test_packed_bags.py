# SPDX-License-Identifier: Apache-2.0
"""Packed bags: what unpacks to far more than it is fills no disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.vltseg_ros.test_bags import written
from vltseg_core.errors import InputError
from vltseg_ros import bags
from vltseg_ros.mcap_records import MAGIC, zstd


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder that temporary files go to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_packed_file_cannot_fill_the_disk(tmp_path, temporary, monkeypatch):
    monkeypatch.setattr("vltseg_ros.bag_folder._LEAST_UNPACKED_BYTES", 3 * 2**20)
    bomb, sizes = tmp_path / "bomb", []
    bomb.mkdir()
    (bomb / "a.mcap.zstd").write_bytes(zstd.compress(MAGIC + bytes(64 * 2**20)))
    monkeypatch.setattr("pathlib.Path.unlink", _noting_sizes(sizes))
    with pytest.raises(InputError, match="a.mcap.zstd' unpacks to far more than a bag of its size"):
        bags.BagReader(bomb)
    assert max(sizes) <= 3 * 2**20 and list(temporary.iterdir()) == []
    # several that are within the limit one by one are not together
    for name in "abcdefgh":
        (bomb / f"{name}.mcap.zstd").write_bytes(zstd.compress(MAGIC + bytes(2**20)))
    with bags.BagReader(bomb) as reader:
        assert sum(file.stat().st_size for file in temporary.rglob("*.mcap")) <= 3 * 2**20
        assert sum("unpacks to far more" in loss for loss in reader.losses) == 6
    assert list(temporary.iterdir()) == []


def _noting_sizes(sizes):
    unlink = Path.unlink

    def noting(path, missing_ok=False):
        if path.suffix == ".mcap":
            sizes.append(path.stat().st_size)
        unlink(path, missing_ok)

    return noting


def test_a_packed_file_leaves_some_of_the_disk_free(tmp_path, temporary, monkeypatch):
    bag = tmp_path / "bag"
    written(bag)
    (bag / "bag.mcap.zstd").write_bytes(zstd.compress((bag / "bag.mcap").read_bytes()))
    (bag / "bag.mcap").unlink()
    (bag / "metadata.yaml").unlink()
    with bags.BagReader(bag) as reader:
        assert len(list(reader.messages([bags.IMAGE_TOPIC]))) == 3
    free = shutil.disk_usage(temporary).free
    monkeypatch.setattr("vltseg_ros.bag_folder._FREE_BYTES", 2 * free)
    with pytest.raises(InputError, match="finds no room to be unpacked in .*: make room, or set TMPDIR"):
        bags.BagReader(bag)
    assert list(temporary.iterdir()) == []
