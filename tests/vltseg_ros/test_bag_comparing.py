# SPDX-License-Identifier: Apache-2.0
"""`vltseg evaluate-bag --compare`: two results.json in, three files out, without ROS."""

from __future__ import annotations

import contextlib
import json

import pytest
from typer.testing import CliRunner

from tests.vltseg_core.evaluation.made_up_bags import improved, rich_bag
from vltseg_core.errors import InputError
from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_comparison import compare_bags
from vltseg_ros.bag_comparing import compare_results, read_results
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


WRONG = [None, "x", -1, 10**30, 10**400, [], {}, [[]], True, float("inf"), "DEEP"]


@pytest.mark.parametrize("wrong", WRONG, ids=[str(value)[:5] for value in WRONG])
def test_junk_in_any_place_is_one_sentence_or_a_comparison(tmp_path, wrong):
    """Every value at every place of the document, one after another."""
    sound = bag_figures.write(rich_bag())
    sound["counts"] = sound["counts"][:1]
    text = "[" * 5000 + "]" * 5000 if wrong == "DEEP" else json.dumps(wrong) if wrong != 10**400 else "1" + "0" * 400
    file = tmp_path / "junk.json"
    num_refused = 0
    for path in places(sound):
        junk = json.loads(json.dumps(sound))
        holder = junk
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = "@junk@"
        file.write_text(json.dumps(junk).replace('"@junk@"', text))
        try:
            result = read_results(file)
        except InputError as error:
            assert "junk.json" in str(error) and "\n" not in str(error)
            num_refused += 1
        else:
            with contextlib.suppress(InputError):  # no drives, no classes
                compare_bags(result, result)
    assert num_refused > 5


def places(document):
    """Paths to what is read, the first of every list alone."""
    read = ("format", "source", "lossless", "rate", "min_confidence", "drawn_not_photographed", "playing_s")
    for key in (*read, "classes", "network", "machine", "remarks", "counts"):
        yield (key,)
    yield from (("classes", 0), ("classes", 0, "name"), ("classes", 0, "colour"), ("classes", 0, "colour", 0))
    for key, value in document["counts"][0].items():
        yield ("counts", 0, key)
        if isinstance(value, list) and value:
            yield ("counts", 0, key, 0)
    for key in ("images", "counts"):
        yield ("counts", 0, "confusion_blocks", 0, key)


def test_bytes_that_are_no_text_are_one_sentence(tmp_path):
    (tmp_path / "noise.json").write_bytes(bytes(range(128, 256)) * 8)
    with pytest.raises(InputError, match="noise.json' is no JSON"):
        read_results(tmp_path / "noise.json")
