# SPDX-License-Identifier: Apache-2.0
"""`make audit` never takes silence for a clean bill."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
audit = runpy.run_path(str(ROOT / ".ci" / "audit.py"))
verdict, pins, in_sets, worst = (audit[name] for name in ("verdict", "pins", "in_sets", "worst"))
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
    lines = pins(ROOT / f"{name}.txt")
    names = {line.partition("==")[0] for line in lines}
    assert all("==" in line and ";" not in line for line in lines) and {"torch", "numpy", "opencv-python", own} <= names
    sets = in_sets(lines)
    assert sorted(line for one in sets for line in one) == sorted(lines)
    assert all(len({line.partition("==")[0] for line in one}) == len(one) for one in sets) and len(sets) == 2


def test_a_known_flaw_is_never_hidden_by_silence() -> None:
    assert [worst(codes) for codes in ([0, 0], [0, 2], [1, 2], [2, 1, 0])] == [0, 2, 1, 1]
