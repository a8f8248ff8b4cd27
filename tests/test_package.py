# SPDX-License-Identifier: Apache-2.0
"""What gets installed: a wheel holds everything that the node, the command and `ros2 run` need."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            os.chmod(source / name, (ROOT / name).stat().st_mode)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(source),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_code_weights_and_shared_files(wheel: zipfile.ZipFile) -> None:
    names = {name.partition(".data/data/")[2] or name for name in wheel.namelist()}
    for needed in (
        "vltseg_core/weights/tiny.safetensors",
        "vltseg_core/prompts/minilm.safetensors",
        "vltseg_core/prompts/cityscapes.yaml",
        "vltseg_core/prompts/camvid.yaml",
        "vltseg_core/evaluation/templates/report.html.j2",
        "vltseg_core/analysis/templates/alignment.html.j2",
        "vltseg_core/analysis/domain_words.yaml",
        "vltseg_ros/segmentation_node.py",
        "share/ament_index/resource_index/packages/vltseg_ros",
        "share/vltseg_ros/package.xml",
        "share/vltseg_ros/launch/vltseg.launch.py",
        "share/vltseg_ros/launch/replay_evaluation.launch.py",
        "share/vltseg_ros/config/vltseg.yaml",
        "share/vltseg_ros/config/fastdds_large_images.xml",
        "share/vltseg_ros/config/vltseg.rviz",
        "share/vltseg_ros/config/vltseg_foxglove.json",
        "share/vltseg_ros/config/sros2_policy.xml",
        "share/vltseg_ros/weights/tiny.safetensors",
        "lib/vltseg_ros/segmentation_node",
        "lib/vltseg_ros/vltseg",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests", "training", "benchmarks", "launch/"))]


def test_what_ros2_run_starts_is_executable(wheel: zipfile.ZipFile) -> None:
    launchers = [item for item in wheel.infolist() if "/lib/vltseg_ros/" in item.filename]
    assert len(launchers) == 2 and all(item.external_attr >> 16 & 0o111 for item in launchers)


def test_the_manifest_makes_it_an_ament_python_package() -> None:
    package = ET.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3" and package.findtext("export/build_type") == "ament_python"
    version = package.findtext("version")
    assert f'__version__ = "{version}"' in (ROOT / "vltseg_core/__init__.py").read_text()
    try:
        from catkin_pkg.package import parse_package
    except ImportError:
        return
    assert parse_package(str(ROOT / "package.xml")).name == "vltseg_ros"


def test_the_weights_are_small_enough_to_ship() -> None:
    assert (ROOT / "vltseg_core/weights/tiny.safetensors").stat().st_size <= 25e6


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "vltseg",
            "namespace cameras image_topic image_transport checkpoint device backend params_file use_sim_time autostart "
            "log_level rviz",
        ),
        ("replay_evaluation", "bag checkpoint device params_file rate lossless min_confidence topic fail_under output"),
    ],
)
def test_a_launch_file_describes_every_argument(name: str, wanted: str) -> None:
    tree = ast.parse((ROOT / f"launch/{name}.launch.py").read_text())
    (rows,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "ARGUMENTS")
    arguments = {row.elts[0].value: ast.unparse(row.elts[2]) for row in rows.elts}  # some defaults are computed
    assert set(wanted.split()) <= set(arguments)
    assert all(len(description) > 10 for description in arguments.values())
