# SPDX-License-Identifier: Apache-2.0
"""The command: files that say the same, one sentence for what cannot be used, and a run that goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vltseg_core.checkpoints import native
from vltseg_core.errors import CheckpointError, ConfigurationError, InputError, VltsegError
from vltseg_core.evaluation import evaluation_run
from vltseg_core.evaluation.evaluate_command import run
from vltseg_core.evaluation.protocol import Protocol, protocol_in_words
from vltseg_core.evaluation.targets import Weather, parse_target, parse_weather
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.weights_path import weights_path

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Four frames of CamVid's layout, two of each sequence, noise in both images and labels; one image is cut off."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "camvid" / "val" / kind).mkdir(parents=True)
    for name in ("0001TP_1", "0001TP_2", "0016E5_1", "0016E5_2"):
        image, labels = rng.integers(0, 256, (48, 64, 3), np.uint8), rng.integers(0, 11, (48, 64), np.uint8)
        Image.fromarray(image).save(tmp_path / "camvid" / "val" / "images" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "camvid" / "val" / "labels" / f"{name}.png")
    (tmp_path / "camvid" / "val" / "images" / "0016E5_2.png").write_bytes(b"\x89PNG cut off")
    return tmp_path / "camvid"


def test_a_run_leaves_json_markdown_and_page_and_is_not_redone(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--checkpoint", "tiny", "--target", f"camvid={camvid}", "--weather", "fog:2", "--device", "cpu"]
    arguments += ["-o", str(tmp_path / "out")]
    assert run(arguments) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    plain, fog = results["checkpoints"][0]["measurements"]
    assert set(plain["conditions"]) == {"day", "dusk"} and list(plain["unreadable"]) == ["0016E5_2"]
    assert fog["weather"] == {"condition": "fog", "severity": 2} and fog["mean_iou"] != plain["mean_iou"]
    assert "could not be read" in capsys.readouterr().out
    assert (tmp_path / "out" / "results.md").is_file() and "base64" in (tmp_path / "out" / "report.html").read_text()

    monkeypatch.setattr(evaluation_run.Segmenter, "segment", lambda *_, **__: pytest.fail("segmented again"))
    assert run(arguments) == 0
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["checkpoints"] == results["checkpoints"]

    assert run(["--compare", str(tmp_path / "out"), str(tmp_path / "out" / "results.json"), "-o", str(tmp_path / "both")]) == 0
    both = json.loads((tmp_path / "both" / "results.json").read_text())
    assert [checkpoint["name"] for checkpoint in both["checkpoints"]] == ["tiny", "out: tiny"]
    with pytest.raises(InputError, match="results of other settings: give a new folder with -o"):
        run([*arguments, "--limit", "2"])
    with pytest.raises(InputError, match="is there already"):
        run(["--compare", str(tmp_path / "out"), "-o", str(tmp_path / "both")])
    (tmp_path / "out" / "evaluation.json").write_text("{}")
    with pytest.raises(InputError, match="holds results of an earlier version"):
        run(arguments)


def test_checkpoints_whose_names_look_alike_have_scores_of_their_own(camvid: Path, tmp_path: Path) -> None:
    checkpoints = []
    for place, bias in (("x/best", 0.0), ("y/best", 50.0), ("z/best_2", 0.0)):
        network = native.load(weights_path("tiny")).network
        with torch.no_grad():
            network.class_embeddings.add_(bias)
        (tmp_path / place).parent.mkdir()
        native.save(network, tmp_path / f"{place}.safetensors", trained_on="nothing")
        checkpoints += ["--checkpoint", str(tmp_path / f"{place}.safetensors")]
    assert run([*checkpoints, "--target", f"camvid={camvid}", "--device", "cpu", "-o", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())["checkpoints"]
    first, second, third = (c["measurements"][0]["mean_iou"] for c in results)
    assert [c["name"] for c in results] == ["best", "best 2", "best_2"] and first == third != second


def test_results_of_another_label_map_are_not_taken_for_these(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, picture in (("images", rng.integers(0, 256, (48, 64, 3), np.uint8)), ("labels", np.tile([0, 1], (48, 32)))):
        (tmp_path / "own" / kind).mkdir(parents=True)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "own" / kind / "a.png")
    arguments = ["--checkpoint", "tiny", "--target", f"folder={tmp_path / 'own'}", "--device", "cpu", "-o", str(tmp_path / "out")]
    for classes in ("{0: road, 1: sky}", "{0: sky, 1: road}"):
        (tmp_path / "own" / "classes.yaml").write_text(classes)
        if classes.startswith("{0: sky"):
            with pytest.raises(InputError, match="results of other settings"):
                run(arguments)
        else:
            assert run(arguments) == 0


def test_torchrun_gives_what_one_process_gives(camvid: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", "tiny", "--target", f"camvid={camvid}", "--device", "cpu", "-o"]
    assert run([*arguments, str(tmp_path / "one")]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "training/evaluate.py"]
    shared = subprocess.run(
        [*launcher, *arguments, str(tmp_path / "two")], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert shared.returncode == 0, shared.stderr
    one, two = (
        json.loads((tmp_path / name / "results.json").read_text())["checkpoints"][0]["measurements"][0] for name in ("one", "two")
    )
    assert one["unreadable"] == two["unreadable"]
    for name, condition in one["conditions"].items():
        assert condition["num_frames"] == two["conditions"][name]["num_frames"]
        difference = np.abs(np.array(condition["confusion"]) - np.array(two["conditions"][name]["confusion"]))
        assert difference.sum() <= 4  # threads round differently


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (["--checkpoint", "tiny"], ConfigurationError, "give --checkpoint and --target"),
        (
            ["--checkpoint", "tiny", "--target", "camvit=x"],
            ConfigurationError,
            "'camvit': did you mean 'camvid'",
        ),
        (["--checkpoint", "tiny", "--target", "camvid"], ConfigurationError, "has no folder: give camvid=FOLDER"),
        (["--checkpoint", "tiny", "--target", "camvid=/nowhere"], InputError, "folder '/nowhere/val/images' is missing"),
        (["--checkpoint", "tiny", "--target", "demo:hail"], ConfigurationError, "unknown condition 'hail' of the demo"),
        (["--checkpoint", "no.safetensors", "--target", "demo"], CheckpointError, "checkpoint 'no.safetensors' not found"),
        (["--checkpoint", "tiny", "--target", "demo", "--target", "demo"], ConfigurationError, "'demo' is given twice"),
        (["--checkpoint", "tiny", "--target", "demo:clear", "demo:hail"], ConfigurationError, "unknown condition 'hail'"),
        (
            ["--checkpoint", "no.safetensors", "--checkpoint", "tiny", "--target", "demo"],
            CheckpointError,
            "'no.safetensors' not found",
        ),
        (["--checkpoint", "tiny", "--target", "demo", "--window", "7"], ConfigurationError, "unknown window '7'"),
        (["--checkpoint", "tiny", "--target", "demo", "--test-size", "big"], ConfigurationError, "unknown test size 'big'"),
        (["--checkpoint", "tiny", "--target", "demo", "--weather", "hail"], ConfigurationError, "unknown weather 'hail'"),
        (["--checkpoint", "tiny", "--target", "demo", "--weather", "fog:9"], ConfigurationError, "severity '9' of fog"),
        (["--checkpoint", "tiny", "--target", "demo", "--source-domain", "gta5"], ConfigurationError, "'gta5' is no target"),
        (["--checkpoint", "tiny", "--target", "demo", "--mean-over", "moon"], ConfigurationError, "has no class 'moon'"),
        (["--compare", "/nowhere/results.json"], InputError, "not found: give a results.json"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_done(
    arguments: list[str], error: type[VltsegError], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        run([*arguments, "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(InputError, match="holds other files"):
        run(["--checkpoint", "tiny", "--target", "demo", "-o", str(tmp_path)])
    with pytest.raises(InputError, match="is a file"):
        run(["--checkpoint", "tiny", "--target", "demo", "-o", str(tmp_path / "letter.txt")])
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_script_ends_with_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    output = Path("/proc/no_place_to_write")
    command = [sys.executable, "training/evaluate.py", "--checkpoint", "tiny", "--target", "demo", "-o", str(output)]
    ended = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith("error: ") and len(ended.stderr.strip().splitlines()) == 1 and str(output) in ended.stderr


def test_weather_by_name_and_severity() -> None:
    assert parse_weather("night:3, fog:2") == (Weather("night", 3), Weather("fog", 2))
    assert parse_weather("snow") == tuple(Weather("snow", severity) for severity in range(1, 6))
    assert len(parse_weather("all")) == 20 and len(parse_weather("all:1,rain")) == 8


def test_weather_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="target 'demo:clear@fog:3' names its weather, which a sweep takes"):
        run(["--checkpoint", "tiny", "--target", "demo:clear@fog:3", "-o", str(tmp_path)])


def test_the_demo_is_five_conditions_in_one() -> None:
    demo = parse_target("demo", num_demo_images=2).evaluation_set
    assert len(demo.images) == 10 and demo.conditions[::2] == ("clear", "night", "fog", "rain", "snow")
    night = parse_target("demo:night", num_demo_images=2).evaluation_set
    assert np.array_equal(demo.images[3].image, night.images[1].image)
    assert np.array_equal(demo.images[2].codes, demo.images[0].codes)  # the same street


def test_a_target_can_name_its_weather() -> None:
    plain, snowy = (parse_target(text, num_demo_images=1) for text in ("demo:clear", "demo:clear@snow:5"))
    before, after = plain.evaluation_set.images[0], snowy.evaluation_set.images[0]
    assert np.array_equal(before.codes, after.codes) and not np.array_equal(before.image, after.image)
    assert snowy.title == "demo clear in snow 5" and snowy.weather == Weather("snow", 5) and plain.weather is None
    for text, complaint in {
        "demo:clear@snow": "must be one at one severity, such as night:3",
        "demo@all:3": "must be one at one severity, such as night:3",
        "demo@hail:1": "unknown weather 'hail'",
        "camvid@night:3": "target 'camvid@night:3' has no folder: give camvid@night:3=FOLDER",
    }.items():
        with pytest.raises(ConfigurationError, match=re.escape(complaint)):
            parse_target(text)


def test_networks_of_synthetic_sources_are_tested_at_the_published_sizes() -> None:
    published, full, own = Protocol(), Protocol(size="full"), Protocol(size="800x600")
    assert published.box("cityscapes", "GTA5, 5,000 iterations") == (512, 1024)
    assert published.box("acdc", "SYNTHIA-RAND-CITYSCAPES (Ros et al., 2016)") == (540, 960)
    assert published.box("bdd100k", "GTA5, 5,000 iterations") is None
    assert published.box("cityscapes", "Mapillary Vistas and Cityscapes, 20,000 and 40,000 iterations") is None
    assert full.box("cityscapes", "GTA5") is None and own.box("bdd100k", "nothing") == (600, 800)


def test_images_enter_at_full_size_where_that_is_asked_for() -> None:
    assert Protocol().max_input_pixels is None and Protocol(size="full").max_input_pixels == 0
    limited, whole = (Segmenter.load("tiny", device="cpu", max_input_pixels=most).describe() for most in (None, 0))
    assert protocol_in_words(limited, None) == "whole images, images of at most 0.52 megapixels, no TTA"
    assert protocol_in_words(whole, None) == "whole images, full resolution, no TTA"
    assert protocol_in_words(limited, (600, 800)) == "whole images, images at 800x600, no TTA"


@pytest.mark.parametrize(("size", "protocol"), [("published", "images of at most 0.52 megapixels"), ("full", "full resolution")])
def test_an_evaluation_enters_images_with_the_size_that_its_protocol_says(
    size: str, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[Any] = []
    load = Segmenter.load
    monkeypatch.setattr(
        evaluation_run.Segmenter, "load", lambda *given, **options: entered.append(load(*given, **options)) or entered[-1]
    )
    arguments = ["--checkpoint", "tiny", "--target", "demo:clear", "--limit", "1", "--device", "cpu", "--test-size", size]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["checkpoints"][0]["measurements"][0]["protocol"] == f"whole images, {protocol}, no TTA"
    assert [segmenter.describe().max_input_pixels for segmenter in entered] == [0 if size == "full" else 540 * 960]


def test_windows_are_the_checkpoint_s_own_unless_given() -> None:
    assert Protocol().window_px("tiny") is None and Protocol("whole").window_px("tiny") == 0
    assert Protocol("slide").window_px("tiny") == 320 and Protocol("128").window_px("tiny") == 128
