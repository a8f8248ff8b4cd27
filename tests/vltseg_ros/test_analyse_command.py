# SPDX-License-Identifier: Apache-2.0
"""`vltseg analyse` as a user types it: files and words out, mistakes in one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vltseg_ros import cli


@pytest.fixture
def vltseg(monkeypatch, capsys):
    """Runs the command in this process; gives exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vltseg", *map(str, arguments)])
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def test_captions_print_a_table_and_write_every_count(vltseg, tmp_path: Path):
    file = tmp_path / "captions.csv"
    file.write_text("url,caption\nu,a street in the rain\nu,a cup\nu,\nu,night\n")
    code, out, _ = vltseg("analyse", "captions", file, "-o", tmp_path / "counts.json")
    assert code == 0
    assert "66.67" in out and "3 captions; 1 empty, 0 unreadable" in out and "weather: a street in the rain" in out
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["captions"] == 3 and counts["shares"]["any"]["num_captions"] == 2
    assert counts["words"]["light"] == {"night": counts["shares"]["light"]}


def test_alignment_writes_page_picture_and_figures(vltseg, tmp_path: Path):
    code, out, err = vltseg(
        "analyse", "alignment", "--data", "demo:clear", "--data", "demo:night", "--before", "random", "--after", "tiny",
        "-o", tmp_path, "--max-images", "5", "--points-per-class", "5", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert {path.name for path in tmp_path.iterdir()} == {"alignment.html", "alignment.svg", "alignment.json"}
    assert "Silhouette across domains" in out and "The nearest text is the right class for" in out
    assert json.loads((tmp_path / "alignment.json").read_text())["before"] == "random"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("captions", "missing.txt"), "vltseg: caption file 'missing.txt' not found"),
        (
            ("alignment", "--data", "mars=/x", "--data", "demo:night", "--before", "random", "--after", "tiny"),
            "vltseg: unknown data set 'mars'",
        ),
        (
            ("alignment", "--data", "demo:clear", "--data", "demo:night", "--before", "random", "--after", "clip_b"),
            "vltseg: 'clip_b' has no weights in this package",
        ),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments, sentence, vltseg, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = vltseg("analyse", *arguments)
    assert code == 1 and sentence in err and "Traceback" not in err
