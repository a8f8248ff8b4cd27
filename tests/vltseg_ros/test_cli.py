# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vltseg_core.checkpoints import native
from vltseg_core.config import preset, varied
from vltseg_core.model.vltseg import Vltseg
from vltseg_ros import bag_messages, bags, cli
from vltseg_ros.image_size_option import parsed_image_size

HERE = Path(__file__).parent
WITH_STAND_IN = f"""
import dataclasses, sys
from vltseg_ros import cli, demo
run_demo, stand_in = demo.run_demo, (sys.executable, {str(HERE / "stand_in_node.py")!r})
demo.run_demo = lambda settings, progress: run_demo(dataclasses.replace(settings, node_command=stand_in), progress)
cli.main()
"""


def vltseg(*arguments, program=("-m", "vltseg_ros.cli"), **options):
    """Run the command; gives exit code, stdout and stderr."""
    options["env"] = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **options.get("env", {})}
    done = subprocess.run(
        [sys.executable, *program, *map(str, arguments)], capture_output=True, text=True, timeout=100, **options
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def vltseg_here(monkeypatch, capsys):
    """The same command in this process, which saves starting another one."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vltseg", *map(str, arguments)])
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def fails_with_one_sentence(words, *arguments, run=vltseg, **options):
    code, _, errors = run(*arguments, **options)
    said = [line for line in errors.splitlines() if line.startswith("vltseg: ")]
    assert code == 1, errors
    assert len(said) == 1 and words in said[0], errors
    assert "Traceback" not in errors


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(60):
        Image.new("RGB", (40, 32), (index, 0, 0)).save(folder / f"{index}.png")
    return folder


def test_help_names_the_commands_and_loads_nothing_heavy():
    code, out, _ = vltseg("--help")
    assert code == 0 and "demo" in out
    heavy = "{'torch', 'rclpy', 'rosbags', 'av', 'numpy', 'jinja2', 'PIL'}"
    check = f"import sys; from vltseg_ros import cli; print(sorted({heavy} & set(sys.modules)))"
    assert vltseg(program=("-c", check))[1] == "[]\n"


def test_help_of_the_demo_names_its_options():
    code, out, _ = vltseg("demo", "--help", env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert code == 0
    for option in ("--input", "--labels", "--label-space", "--topic", "--rate-hz", "--checkpoint", "--no-open"):
        assert option in out


def test_version():
    code, out, _ = vltseg("--version")
    assert code == 0 and out.startswith("vltseg_ros")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--image-size", "large"], "'large' is no size"),
        (["demo", "--image-size", "15x8192"], "'15x8192' is no size"),
        (["describe", "--size", "²x²"], "'²x²' is no size"),
        (["describe", "--size", "٣٢x٣٢"], "'٣٢x٣٢' is no size"),
        (["describe", "--size", "99999999x99999999"], "16 to 8192 each"),
        (["describe", "--size", f"{'9' * 5000}x64"], "is no size"),
        (["convert", "a.pth", "-o", "a.pth"], "'a.pth' cannot be written to"),
        (["convert", "a.pth", "-o", "folder/"], "'folder' cannot be written to"),
        (["convert", "./a.safetensors", "-o", "a.safetensors"], "'a.safetensors' cannot be written to"),
        (["demo", "--rate", "0"], "not a number above 0"),
        (["demo", "--seconds", "-1"], "not a number above 0"),
        (["demo", "--labels", "somewhere"], "--labels belongs to --input"),
        (["demo", "--input", "a", "--labels", "b", "--label-space", "ade20k"], "ade20k"),
        (["demo", "--no-such-option"], "--no-such-option"),
        (["dance"], "dance"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, words, vltseg_here):
    code, _, errors = vltseg_here(*arguments)
    assert code == 2 and words in errors and "Traceback" not in errors


def test_a_size_is_16_to_8192_pixels_a_side():
    assert [parsed_image_size(text) for text in ("16x8192", "8192x16")] == [(8192, 16), (16, 8192)]


def test_describe_says_what_a_network_holds_and_how_large_images_enter(tmp_path, vltseg_here):
    code, out, _ = vltseg_here("describe", "--size", "64x48")
    assert code == 0 and "GFLOP at 64x48" in out and "classes: 19 (cityscapes)" in out and "CamVid" in out
    assert "more than 518400 pixels enter smaller" in out
    unlimited = Vltseg(varied(preset("tiny"), {"inference": {"max_input_pixels": 0}}))
    native.save(unlimited, tmp_path / "unlimited.safetensors", trained_on="nothing [at all]")
    code, out, _ = vltseg_here("describe", tmp_path / "unlimited.safetensors", "--size", "64x48")
    assert code == 0 and "enter smaller" not in out and "nothing [at all]" in out


def test_input_that_cannot_be_played_exits_with_1(tmp_path, vltseg_here):
    (tmp_path / "empty").mkdir()
    (tmp_path / "drive.mp4").write_text("no video")
    with bags.BagWriter(tmp_path / "bag") as writer:
        writer.write("/note", bag_messages.STRING_TYPE, 1, bag_messages.string_message("hello"))
    out = ["-o", tmp_path / "out"]
    fails_with_one_sentence("there is no image file", "demo", "--input", tmp_path / "empty", *out, run=vltseg_here)
    fails_with_one_sentence("read as a video", "demo", "--input", tmp_path / "drive.mp4", *out, run=vltseg_here)
    fails_with_one_sentence("holds no images", "demo", "--input", tmp_path / "bag", *out, run=vltseg_here)
    fails_with_one_sentence("'nowhere' does not exist", "demo", "--input", "nowhere", *out)
    assert not (tmp_path / "out").exists()


def test_a_foreign_output_folder_exits_with_1(images, vltseg_here):
    fails_with_one_sentence("vltseg did not write", "demo", "--input", images, "-o", images, run=vltseg_here)
    assert len(list(images.iterdir())) == 60


def test_no_ros_exits_with_1(tmp_path, images):
    (tmp_path / "rclpy.py").write_text("raise ImportError(\"No module named 'rclpy'\")")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from vltseg_ros import cli; cli.main()"
    arguments = ("demo", "--input", images, "-o", tmp_path / "out")
    fails_with_one_sentence("ROS 2 is missing (No module named 'rclpy')", *arguments, program=("-c", script))


def test_a_full_disk_exits_with_1(tmp_path, monkeypatch, vltseg_here):
    def run_demo(settings, progress):
        raise OSError(errno.ENOSPC, "No space left on device", "overlay.mp4")

    monkeypatch.setattr("vltseg_ros.demo.run_demo", run_demo)
    words = "the disk is full ('overlay.mp4'): free some space, or name a folder on another disk"
    fails_with_one_sentence(words, "demo", "-o", tmp_path / "out", run=vltseg_here)


def test_the_nodes_own_sentence_comes_through(tmp_path, images):
    arguments = ("demo", "--input", images, "--checkpoint", "broken", "-o", tmp_path / "out")
    sentence = "checkpoint 'broken' is no checkpoint: give a .safetensors file"
    fails_with_one_sentence(sentence, *arguments, program=("-c", WITH_STAND_IN))


def test_a_traceback_can_be_asked_for(tmp_path):
    code, _, errors = vltseg("demo", "--input", "nowhere", "-o", tmp_path / "out", env={"VLTSEG_DEBUG": "1"})
    assert code == 1 and "Traceback" in errors and "InputError" in errors


def test_a_run_prints_its_figures_and_where_the_report_is(tmp_path, images):
    arguments = ("demo", "--input", images, "--seconds", "0.5", "--rate-hz", "20", "-o", tmp_path / "out")
    code, out, errors = vltseg(*arguments, program=("-c", WITH_STAND_IN))
    assert code == 0, errors
    assert "mIoU" not in out and "drawn" not in out and "sequence" in out
    assert out.splitlines()[-1] == f"Report: {tmp_path / 'out' / 'report.html'}"
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_ends_the_node_and_keeps_what_was_recorded(tmp_path, images, number, code):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_STAND_IN, "demo", "--input", images, "--rate-hz", "5", "-o", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )
    deadline = time.monotonic() + 30
    while not _answering(out):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    assert _num_stand_ins(out) == 1
    time.sleep(1.0)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert _num_stand_ins(out) == 0
    with bags.BagReader(out / "recording") as reader:
        masks = list(reader.messages([bags.LABELS_TOPIC]))
    assert masks and np.unique(bag_messages.labels_of(masks[0].cdr)).size == 1


def _answering(out):
    """Whether the stand-in has said that it answers."""
    log = out / "node.log"
    return log.exists() and "first frame" in log.read_text()


def _num_stand_ins(out):
    """Running stand-ins whose log goes into this folder."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                count += os.readlink(entry / "fd" / "1") == str(out / "node.log")
            except OSError:
                continue
    return count
