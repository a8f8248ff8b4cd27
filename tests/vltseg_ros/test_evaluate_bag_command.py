# SPDX-License-Identifier: Apache-2.0
"""What a bag calls its conditions and what is said of it is printed as text, neither as markup nor to a terminal's orders."""

from __future__ import annotations

from pathlib import Path

from tests.vltseg_core.evaluation.made_up_bags import bag, drive
from vltseg_ros.evaluate_bag_command import _print_result


def test_conditions_and_remarks_are_printed_as_they_are(capsys):
    drives = [drive(name, "a", [0.5], [10.0]) for name in ("[/red]", "[link=file:///etc]x[/link]", "\x1b[31mred")]
    _print_result(bag(*drives, remarks=("encoding '[/b]\x1b[2J' is none",)), Path("out[/b]/report.html"))
    printed = capsys.readouterr().out
    assert "[/red]" in printed and "[link=" in printed and "encoding '[/b]?[2J' is none" in printed
    assert "out[/b]/report.html" in printed and "\x1b" not in printed
