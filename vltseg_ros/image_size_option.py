# SPDX-License-Identifier: Apache-2.0
"""WIDTHxHEIGHT, as every command takes it."""

from __future__ import annotations

import re

import typer


def parsed_image_size(text: str) -> tuple[int, int]:
    """(height, width) in pixels, 16 to 8192 each; raises BadParameter for anything else."""
    match = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    if not match or not all(16 <= int(side) <= 8192 for side in match.groups()):
        raise typer.BadParameter(f"'{text}' is no size: give WIDTHxHEIGHT in pixels, 16 to 8192 each, like 480x360")
    return int(match[2]), int(match[1])
