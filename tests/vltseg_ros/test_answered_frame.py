# SPDX-License-Identifier: Apache-2.0
"""Names of the pictures of frames fit any file system, whatever their condition and their own file are called."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_ros.answered_frame import AnsweredFrame
from vltseg_ros.frame_source import SourceFrame


def file_name(section, name="000000"):
    nothing = np.zeros((1, 1), np.uint8)
    frame = SourceFrame(name, section, 0, 0, b"")
    return AnsweredFrame(0, frame, section, "", nothing, nothing, nothing, None, None, None).file_name


def test_a_name_that_fits_is_section_and_frame():
    assert file_name("night/rain") == "night_rain_000000" and file_name("../[/red]\0") == "_____red___000000"


@pytest.mark.parametrize("letter", ["n", "ü", "夜", "\U00020000"])
def test_long_names_are_cut_and_stay_apart(letter, tmp_path):
    names = [
        file_name(letter * 3000),
        file_name(letter * 3001),
        file_name(letter * 3000, "000001"),
        file_name("a", letter * 60 + "b" * 200),
    ]
    assert len(set(names)) == 4
    for name in names:
        (tmp_path / f"worst_3_{name}.png").touch()
