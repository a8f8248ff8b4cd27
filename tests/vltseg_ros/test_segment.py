# SPDX-License-Identifier: Apache-2.0
"""Pictures to files: the right pixels under the right names, resumed, and one sentence for what cannot be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.evaluation.video import VideoWriter
from vltseg_core.runtime import Segmenter
from vltseg_ros.image_sources import VideoSource
from vltseg_ros.segment import SegmentSettings, segment_files


def vltseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vltseg_ros.cli", "segment", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, size in enumerate([(96, 128), (90, 120), (96, 128)]):
        Image.fromarray(DemoSequence(number, image_size=size).frame(5).image).save(folder / f"street{number}.png")
    return folder


def test_a_folder_becomes_four_folders_of_its_names(pictures: Path, tmp_path: Path) -> None:
    result = vltseg(str(pictures), "-o", str(tmp_path / "out"), "--device", "cpu", "--batch-size", "2")
    assert result.returncode == 0, result.stderr
    for kind in ("labels", "colour", "overlay", "confidence"):
        assert sorted(p.name for p in (tmp_path / "out" / kind).iterdir()) == [f"street{i}.png" for i in range(3)]
    image = np.asarray(Image.open(pictures / "street1.png"))
    segmenter = Segmenter.load("tiny", device="cpu")
    expected = segmenter.segment([image])[0]
    labels = np.asarray(Image.open(tmp_path / "out/labels/street1.png"))
    assert (labels == expected.labels).mean() > 0.999
    colour = np.asarray(Image.open(tmp_path / "out/colour/street1.png"))
    assert np.array_equal(colour, segmenter.classes.palette[labels])


def test_pictures_enter_with_so_many_pixels_as_are_asked_for(pictures: Path, tmp_path: Path) -> None:
    arguments = ("--device", "cpu", "--show", "confidence", "--max-input-pixels", "3072")
    result = vltseg(str(pictures / "street0.png"), "-o", str(tmp_path / "out"), *arguments)
    assert result.returncode == 0, result.stderr
    image = np.asarray(Image.open(pictures / "street0.png"))
    expected = Segmenter.load("tiny", device="cpu", input_size=(48, 64)).segment([image])[0].confidence
    assert np.abs(np.asarray(Image.open(tmp_path / "out/confidence/street0.png")).astype(int) - expected).max() <= 1


def test_the_score_map_is_a_picture_of_each_size(pictures: Path, tmp_path: Path) -> None:
    result = vltseg(str(pictures), "-o", str(tmp_path / "out"), "--device", "cpu", "--show", "score-map")
    assert result.returncode == 0, result.stderr
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == ["score-map"]
    image = np.asarray(Image.open(pictures / "street1.png"))
    picture = np.asarray(Image.open(tmp_path / "out/score-map/street1.png"))
    match = Segmenter.load("tiny", device="cpu").match_text([image])[0]
    assert picture.shape == image.shape
    row, column = np.unravel_index(match.confidence.argmax(), match.confidence.shape)
    expected = Segmenter.load("tiny", device="cpu").classes.palette[match.labels[row, column]]
    assert np.abs(picture[row, column].astype(int) - expected).max() <= 0.1 * 255


def test_a_second_run_goes_on_and_other_settings_are_refused(pictures: Path, tmp_path: Path) -> None:
    output = ["-o", str(tmp_path / "out"), "--device", "cpu", "--show", "labels"]
    assert vltseg(str(pictures), *output).returncode == 0
    kept, removed = (tmp_path / f"out/labels/street{i}.png" for i in (0, 1))
    removed.unlink()
    before = kept.stat().st_mtime_ns
    assert vltseg(str(pictures), *output).returncode == 0
    assert removed.is_file() and kept.stat().st_mtime_ns == before
    other = vltseg(str(pictures), *output, "--window", "64")
    assert other.returncode == 1 and "results of other settings" in other.stderr


def test_a_video_becomes_frames_and_an_overlay_video(tmp_path: Path) -> None:
    sequence = DemoSequence(0, image_size=(64, 96))
    with VideoWriter(tmp_path / "drive.mp4", 10.0) as video:
        for index in range(4):
            video.add(sequence.frame(index).image)
    result = vltseg(str(tmp_path / "drive.mp4"), "-o", str(tmp_path / "out"), "--device", "cpu", "--show", "overlay")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out/overlay").glob("drive_*.png"))) == 4
    assert (tmp_path / "out/drive_overlay.mp4").stat().st_size > 1000


def test_a_second_run_takes_the_overlays_that_are_there_into_the_video(tmp_path: Path) -> None:
    sequence = DemoSequence(0, image_size=(64, 96))
    with VideoWriter(tmp_path / "drive.mp4", 10.0) as video:
        for index in range(3):
            video.add(sequence.frame(index).image)
    settings = SegmentSettings((str(tmp_path / "drive.mp4"),), tmp_path / "out", ("overlay",), device="cpu", batch_size=2)
    segment_files(settings, Progress(disable=True))
    overlay = tmp_path / "out/drive_overlay.mp4"
    (first, middle), red = [*VideoSource(overlay).frames()][:2], np.full((64, 96, 3), (250, 0, 0), np.uint8)
    Image.fromarray(red).save(tmp_path / "out/overlay/drive_000000.png")
    (tmp_path / "out/overlay/drive_000001.png").unlink()
    assert segment_files(settings, Progress(disable=True)).num_pictures == 3
    source = VideoSource(overlay)
    pictures = [source.picture(frame).astype(int) for frame in source.frames()]
    assert len(pictures) == 3
    assert np.abs(pictures[0] - red).mean() < 10 and np.abs(source.picture(first) - pictures[0]).mean() > 50
    assert np.abs(source.picture(middle) - pictures[1]).mean() < 10


def test_pictures_of_one_name_all_get_their_results(pictures: Path, tmp_path: Path) -> None:
    Image.open(pictures / "street1.png").save(pictures / "street0.jpg")
    settings = SegmentSettings((str(pictures),), tmp_path / "out", ("labels",), device="cpu")
    assert segment_files(settings, Progress(disable=True)).num_pictures == 4
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "out/labels").iterdir()}
    assert sizes == {
        "street0_png.png": (128, 96),
        "street0_jpg.png": (120, 90),
        "street1.png": (120, 90),
        "street2.png": (128, 96),
    }


def test_a_picture_that_cannot_be_read_costs_no_other_and_is_named(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "street0.png").read_bytes()
    (pictures / "street1.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "text.png").write_text("no picture")
    result = vltseg(str(pictures), "-o", str(tmp_path / "out"), "--device", "cpu", "--show", "labels")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "2 image files were left out" in result.stderr and f"2 pictures: {tmp_path / 'out'}" in result.stdout
    assert all(f"'{pictures / name}' cannot be read as an image" in result.stderr for name in ("street1.png", "text.png"))
    assert sorted(p.name for p in (tmp_path / "out/labels").iterdir()) == ["street0.png", "street2.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.png"], "'nowhere.png' does not exist"),
        (["PICTURES", "--show", "depth"], "unknown kind of result 'depth': choose from labels, colour"),
        (["PICTURES", "--show", " ,"], "no kind of result is asked for: choose from labels, colour"),
        (["PICTURES", "--checkpoint", "README.md"], "README.md' is no safetensors file"),
        (["PICTURES", "-o", "PICTURES"], "holds other files or results of other settings"),
    ],
)
def test_mistakes_are_said_in_a_sentence(arguments: list[str], sentence: str, pictures: Path, tmp_path: Path) -> None:
    given = [a.replace("PICTURES", str(pictures)).replace("README", str(Path(__file__).parents[2] / "README")) for a in arguments]
    if "-o" not in given:
        given += ["-o", str(tmp_path / "out")]
    result = vltseg(*given, "--device", "cpu")
    assert result.returncode == 1 and sentence in result.stderr and "Traceback" not in result.stderr
