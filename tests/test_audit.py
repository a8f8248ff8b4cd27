# SPDX-License-Identifier: Apache-2.0
"""`make audit` never takes silence for a clean bill."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
audit = runpy.run_path(str(ROOT / ".ci" / "audit.py"))
verdict, pins = audit["verdict"], audit["pins"]
CLEAN = {"name": "numpy", "version": "2.2.6", "vulns": []}
FLAWED = {"name": "pillow", "version": "9.0.0", "vulns": [{"id": "PYSEC-2022-10", "fix_versions": ["9.0.1"]}]}
SKIPPED = {"name": "cv-bridge", "skip_reason": "Dependency not found on PyPI and could not be audited: cv-bridge"}


@pytest.mark.parametrize(
    ("report", "exit_code", "said"),
    [
        ({"dependencies": [CLEAN]}, 0, "1 dependencies asked of pypi, 0 known vulnerabilities"),
        ({"dependencies": [CLEAN, SKIPPED]}, 0, "1 are unknown there: cv-bridge"),
        ({"dependencies": [CLEAN, FLAWED]}, 1, "pillow 9.0.0: PYSEC-2022-10, fixed in 9.0.1"),
        ({"dependencies": [SKIPPED]}, 2, "NOT audited"),
        ({"dependencies": []}, 2, "NOT audited"),
        (None, 2, "NOT audited"),
    ],
)
def test_a_report_becomes_an_exit_code_and_a_sentence(report: dict[str, Any] | None, exit_code: int, said: str) -> None:
    code, text = verdict(report, "pypi")
    assert code == exit_code and said in text


@pytest.mark.parametrize(("name", "own"), [("constraints", "ros-kilted-rclpy"), ("constraints_ros", "numpy")])
def test_every_version_that_a_file_pins_is_asked_for_once(name: str, own: str) -> None:
    lines = [line.replace(" ", "") for line in pins(ROOT / f"{name}.txt")]
    names = {line.partition("==")[0] for line in lines}
    assert all("==" in line for line in lines) and {"torch", "numpy", "opencv-python", own} <= names
    assert len({(line.partition("==")[0], line.partition(";")[2]) for line in lines}) == len(lines)
