# SPDX-License-Identifier: Apache-2.0
"""Nothing of a user's is ever overwritten, and two runs never share a folder."""

from __future__ import annotations

import pytest

from vltseg_core.errors import InputError
from vltseg_ros.output_folder import ComparisonFolder, OutputFolder


def test_a_new_or_empty_folder_is_taken(tmp_path):
    with OutputFolder(tmp_path / "a" / "b") as folder:
        assert folder.path.is_dir()
    (tmp_path / "empty").mkdir()
    with OutputFolder(tmp_path / "empty"):
        pass


def test_a_foreign_folder_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(InputError, match="holds files that vltseg did not write"), OutputFolder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(InputError, match="is a file"), OutputFolder(tmp_path / "report.html"):
        pass


def test_an_earlier_run_is_replaced_and_other_files_stay(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        folder.report.write_text("old")
        folder.overlays.mkdir()
        (folder.overlays / "old.png").write_text("old")
        folder.recording.mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with OutputFolder(tmp_path / "out") as folder:
        assert sorted(path.name for path in folder.path.iterdir()) == [".vltseg_output", "notes.txt"]


def test_a_folder_in_use_is_refused(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        folder.report.write_text("being written")
        with pytest.raises(InputError, match="in use by another run"), OutputFolder(tmp_path / "out"):
            pass
        assert folder.report.exists()
    with OutputFolder(tmp_path / "out"):
        pass


def test_a_comparison_beside_an_evaluation_replaces_only_a_comparison(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        folder.results.write_text("figures")
    with ComparisonFolder(tmp_path / "out") as comparison:
        comparison.page.write_text("page")
    with ComparisonFolder(tmp_path / "out"):
        assert not comparison.page.exists() and folder.results.read_text() == "figures"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "compare.md").write_text("mine")
    with pytest.raises(InputError, match="vltseg did not write"), ComparisonFolder(tmp_path / "mine"):
        pass
