# SPDX-License-Identifier: Apache-2.0
"""`vltseg evaluate-bag --compare`: two results.json in, three files out, without ROS."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.vltseg_core.evaluation.made_up_bags import improved, rich_bag
from vltseg_core.errors import InputError
from vltseg_core.evaluation import bag_figures
from vltseg_ros.bag_comparing import compare_results
from vltseg_ros.cli import app


@pytest.fixture
def runs(tmp_path):
    """The folders of two evaluations, the later one better."""
    for name, result in (("a", rich_bag()), ("b", improved(rich_bag(), 0.5))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(bag_figures.write(result)))
    return tmp_path / "a", tmp_path / "b"


def test_the_command_writes_three_files_and_says_what_changed(runs, tmp_path):
    before, after = runs
    out = tmp_path / "out"
    ended = CliRunner().invoke(app, ["evaluate-bag", "--compare", str(before / "results.json"), str(after), "-o", str(out)])
    assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in out.iterdir()) == [".vltseg_output", "compare.html", "compare.json", "compare.md"]
    assert "mIoU, all pixels pooled" in ended.output and "Better, by more than noise" in ended.output
    assert json.loads((out / "compare.json").read_text())["mean_iou"]["mIoU, all pixels pooled"]["verdict"] == "better"
    again = CliRunner().invoke(app, ["evaluate-bag", "-o", str(out), "--compare", str(before), str(before)])
    assert again.exit_code == 0 and "Nothing changed by more than noise." in again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("drive.mcap", "--compare", "A", "B"), "bags belongs to playing a bag"),
        (("--compare", "A", "B", "--lossless"), "--lossless belongs to playing a bag"),
        ((), "give a bag to play, or --compare"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(arguments, words):
    ended = CliRunner().invoke(app, ["evaluate-bag", *arguments], env={"COLUMNS": "200"})
    assert ended.exit_code == 2 and words in ended.output


def test_files_that_are_none_are_one_sentence(runs, tmp_path):
    before, _ = runs
    with pytest.raises(InputError, match="there is no .*missing.*: give the results.json"):
        compare_results(before, tmp_path / "missing", tmp_path / "out")
    (tmp_path / "cut.json").write_text('{"format": 1, "sou')
    with pytest.raises(InputError, match="cut.json' is no JSON"):
        compare_results(before, tmp_path / "cut.json", tmp_path / "out")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="list.json': this is no results.json"):
        compare_results(before, tmp_path / "list.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()
