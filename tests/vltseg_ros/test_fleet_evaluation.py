# SPDX-License-Identifier: Apache-2.0
"""Several bags in one command: merged exactly, resumed, and one that fails stops no other."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

import vltseg_core.runtime.weights_path
from vltseg_core.errors import InputError
from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_merging import NamedBag, merge
from vltseg_ros import cli, fleet_task, replay_run
from vltseg_ros.bag_evaluation import BagEvaluationSettings
from vltseg_ros.demo_bag import DemoBagSettings, write_demo_bag
from vltseg_ros.finished_bags import fingerprint
from vltseg_ros.fleet_evaluation import FleetSettings, evaluate_fleet, one_after_another
from vltseg_ros.replay_run import ReplaySettings

STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in_node.py"))


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    """Two bags of the same file name, four drawn frames each."""
    root = tmp_path_factory.mktemp("fleet")
    for seed, day in enumerate(("monday", "tuesday")):
        (root / day).mkdir()
        drawing = DemoBagSettings(seed=seed, seconds=0.2, image_size=(48, 64), conditions=("clear", "night"))
        write_demo_bag(root / day / "drive", drawing)
    return [str(root / day / "drive") for day in ("monday", "tuesday")]


def settings(sources, output, checkpoint="tiny"):
    replay = ReplaySettings(lossless=True, with_confidence=True, checkpoint=checkpoint, node_command=STAND_IN)
    return FleetSettings(sources, output, BagEvaluationSettings("", output, replay))


def run(fleet, runner=one_after_another):
    said = io.StringIO()
    with Progress(console=Console(file=said, width=200)) as progress:
        return evaluate_fleet(fleet, progress, runner), said.getvalue()


class Counting:
    """A runner that remembers what it was asked for."""

    def __init__(self):
        self.names = []

    def __call__(self, tasks, on_share):
        self.names += [task.name for task in tasks]
        return one_after_another(tasks, on_share)


@pytest.fixture(scope="module")
def finished(drives, tmp_path_factory):
    """Both bags evaluated."""
    return run(settings(drives, tmp_path_factory.mktemp("finished") / "out"))[0]


def test_each_bag_has_its_folder_and_the_merged_figures_are_those_of_both(finished):
    parts = {}
    for name in ("monday-drive", "tuesday-drive"):
        folder = finished.folder.path / "bags" / name
        assert (folder / "report.html").is_file() and (folder / "result_bag").is_dir()
        parts[name] = bag_figures.read(json.loads((folder / "results.json").read_text()))
    document = json.loads(finished.folder.results.read_text())
    assert bag_figures.read(document).total.num_frames == 8
    merged = bag_figures.write(merge([NamedBag(*part) for part in parts.items()]))
    for said in ("counts", "overall", "conditions", "sequences", "mean_iou_pooled"):
        assert document[said] == merged[said], said
    assert [one["sequence"] for one in document["sequences"]] == ["monday-drive"] * 2 + ["tuesday-drive"] * 2
    assert list(document["conditions"]) == ["clear", "night"] and not finished.failures
    for name, part in parts.items():
        assert document["bags"][name]["overall"] == bag_figures.group_figures(part.total, part.classes)


def test_the_report_leads_to_each_bag_and_shows_its_worst_frame(finished):
    page = finished.folder.report.read_text()
    for name in ("monday-drive", "tuesday-drive"):
        assert f'href="bags/{name}/report.html"' in page and f"{name}: worst_1" in page
        assert f"| {name} |" in finished.folder.tables.read_text()


def test_what_is_finished_is_not_played_again_and_what_was_made_otherwise_is(drives, finished):
    counting = Counting()
    again, said = run(settings(drives, finished.folder.path), counting)
    assert counting.names == [] and "2 of 2 bags are finished already" in said
    assert bag_figures.write(again.result) == bag_figures.write(finished.result)
    (finished.folder.path / "bags/tuesday-drive/results.json").write_text("{")
    os.utime(Path(drives[0]) / "metadata.yaml")
    repaired, _ = run(settings(drives, finished.folder.path), counting)
    assert counting.names == ["monday-drive", "tuesday-drive"] and repaired.result.total.num_frames == 8


def test_results_are_known_by_their_settings_and_files(drives, finished, monkeypatch):
    made = finished.folder.path / "bags/monday-drive"
    own = replace(settings(drives, made).evaluation, bag=drives[0])
    before = fingerprint(own)
    assert before == json.loads(json.dumps(before)) == fingerprint(replace(own, output=Path("elsewhere")))
    assert fingerprint(replace(own, max_seconds=1.0)) != before
    assert fingerprint(replace(own, replay=replace(own.replay, min_confidence=0.5))) != before
    (Path(drives[0]) / "note.txt").touch()
    assert fingerprint(own) != before
    (Path(drives[0]) / "note.txt").unlink()
    assert fingerprint(own) == before
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert fingerprint(own) != before


@pytest.mark.parametrize("named_by", ["nobody", "name", "file", "parameters"])
def test_results_are_of_the_weights_whoever_names_them(named_by, drives, finished, tmp_path, monkeypatch):
    own = replace(settings(drives, finished.folder.path).evaluation, bag=drives[0])
    bundled, weights = tmp_path / "bundled" / "tiny.safetensors", tmp_path / "own.safetensors"
    bundled.parent.mkdir()
    for file in (bundled, weights):
        file.write_bytes(b"before")
    monkeypatch.setattr(vltseg_core.runtime.weights_path, "WEIGHTS_FOLDER", bundled.parent)
    parameters = tmp_path / "parameters.yaml"
    sections = (
        "other: {ros__parameters: {checkpoint: other}}",
        f"/**: {{ros__parameters: &own {{checkpoint: {weights}, own: *own}}}}",
    )
    parameters.write_text("\n".join(sections) + "\n")
    given = {
        "nobody": {"checkpoint": None},
        "name": {"checkpoint": "tiny"},
        "file": {"checkpoint": str(weights)},
        "parameters": {"checkpoint": None, "params_file": parameters},
    }
    own = replace(own, replay=replace(own.replay, **given[named_by]))
    before = fingerprint(own)
    assert fingerprint(own) == before
    (bundled if named_by in ("nobody", "name") else weights).write_bytes(b"otherwise")
    assert fingerprint(own) != before


def test_a_bag_that_fails_is_one_line_and_the_others_go_on(drives, tmp_path):
    damaged, absent = tmp_path / "damaged.mcap", tmp_path / "absent.mcap"
    damaged.write_bytes(b"no bag")
    outcome, said = run(settings([str(damaged), drives[0], str(absent)], tmp_path / "out"))
    assert outcome.failures.keys() == {"damaged", "absent"} and outcome.result.total.num_frames == 4
    document = json.loads(outcome.folder.results.read_text())
    assert "does not exist" in document["bags"]["absent"]["failed"]
    assert [line for line in document["remarks"] if line.startswith("damaged failed: ")]
    assert "damaged failed: " in outcome.folder.report.read_text() and "absent failed: " in said
    assert "| absent | – | – | – | failed: " in outcome.folder.tables.read_text()


def test_a_node_that_dies_fails_its_bag_and_is_tried_again_by_the_next_command(drives, tmp_path):
    fleet = settings(drives[:1], tmp_path / "out", checkpoint="dying")
    with pytest.raises(InputError, match=r"none of the 1 bags could be evaluated: the node ended with exit code 7"):
        run(fleet)
    counting = Counting()
    with pytest.raises(InputError):
        run(fleet, counting)
    assert counting.names == ["drive"]


def test_a_defect_in_one_evaluation_is_that_bags_failure_alone(drives, tmp_path, monkeypatch):
    whole = fleet_task.evaluate_bag

    def sometimes(own, progress):
        if "monday" in own.bag:
            raise ZeroDivisionError("nobody thought of this")
        return whole(own, progress)

    monkeypatch.setattr(fleet_task, "evaluate_bag", sometimes)
    outcome, _ = run(settings(drives, tmp_path / "out"))
    assert outcome.failures == {"monday-drive": "ZeroDivisionError: nobody thought of this"}


def test_from_a_machine_that_shares_no_folder_figures_come_back_and_that_is_said(drives, tmp_path, finished):
    def elsewhere(tasks, on_share):
        return one_after_another([replace(task, shared_marker=tmp_path / "not here") for task in tasks], on_share)

    fleet = settings(drives, tmp_path / "out")
    outcome, _ = run(fleet, elsewhere)
    folder = outcome.folder.path / "bags/monday-drive"
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "finished.json",
        "report.html",
        "results.json",
        "results.md",
    ]
    assert sum("of this bag there are figures alone" in remark for remark in outcome.result.remarks) == 2
    assert bag_figures.write(outcome.result)["counts"][0]["confusion_blocks"]
    counting = Counting()
    run(fleet, counting)
    assert counting.names == []


def test_the_bar_goes_from_nothing_to_all_bags(drives, tmp_path):
    seen = []

    class Watched(Progress):
        def update(self, task_id, **values):
            seen.append(values.get("completed"))
            super().update(task_id, **values)

    with Watched(console=Console(file=io.StringIO())) as progress:
        evaluate_fleet(settings(drives, tmp_path / "out"), progress)
        assert progress.tasks[0].total == 2
    shares = [share for share in seen if share is not None]
    assert shares == sorted(shares) and shares[-1] == 2 and 1 in shares


INTERRUPTIBLE = """
import sys
from pathlib import Path
from test_fleet_evaluation import settings
from vltseg_ros.fleet_evaluation import evaluate_fleet
from vltseg_ros.replay_command import run_with_progress

output, *drives = sys.argv[1:]
fleet = settings(drives, Path(output), "slow")
run_with_progress(lambda progress: evaluate_fleet(fleet, progress), Path(output), after_stop="the same command goes on")
"""


def interruptible(drives, output):
    """A process of its own that evaluates with the stand-in, a quarter of a second a frame."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    program = (
        f"import typer\ntry:\n{textwrap.indent(INTERRUPTIBLE, '    ')}\nexcept typer.Exit as end:\n    sys.exit(end.exit_code)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(output), *drives],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_after_ctrl_c_the_same_command_goes_on(drives, tmp_path):
    output = tmp_path / "out"
    first, second = (output / "bags" / name / "finished.json" for name in ("monday-drive", "tuesday-drive"))
    log = second.with_name("node.log")
    running = interruptible(drives, output)
    deadline = time.monotonic() + 90
    while not (log.exists() and "first frame" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "stopped; the same command goes on" in said
    assert first.exists() and not second.exists()
    finished_ns = first.stat().st_mtime_ns
    again = interruptible(drives, output)
    printed, said = again.communicate(timeout=90)
    assert again.returncode == 0 and "1 of 2 bags are finished already" in printed, said
    assert second.exists() and first.stat().st_mtime_ns == finished_ns


@pytest.fixture
def command(monkeypatch):
    """The command line in this process, with the stand-in for a node."""
    monkeypatch.setattr(replay_run, "ReplaySettings", partial(ReplaySettings, node_command=STAND_IN))

    def run_command(*arguments):
        return CliRunner().invoke(cli.app, ["evaluate-bag", *map(str, arguments), "--lossless"])

    return run_command


def test_the_command_demands_of_the_merged_result_and_ends_with_1_where_a_bag_failed(command, drives, tmp_path):
    pattern = Path(drives[0]).parents[1] / "*day" / "drive"
    ended = command(pattern, "-o", tmp_path / "out", "--fail-under", "overall=100")
    assert ended.exit_code == 2 and "fell short of --fail-under: overall has" in ended.output
    again = command(pattern, tmp_path / "absent.mcap", "-o", tmp_path / "out")
    assert again.exit_code == 1 and "2 of 3 bags are finished already" in again.output
    assert "absent failed: " in again.output and "Report: " in again.output


def test_one_bag_keeps_its_own_layout(command, drives, tmp_path):
    ended = command(drives[0], "-o", tmp_path / "out")
    assert ended.exit_code == 0 and (tmp_path / "out/result_bag").is_dir() and not (tmp_path / "out/bags").exists()


def test_options_that_do_not_go_together_are_refused(command, tmp_path):
    assert "--labels belongs to one input" in command("a", "b", "--labels", tmp_path).output
    assert "--bag-cpus belongs to --ray" in command("a", "b", "--bag-cpus", "2").output
