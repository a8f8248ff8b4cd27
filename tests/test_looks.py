# SPDX-License-Identifier: Apache-2.0
"""The RViz config and the Foxglove layout show camera, overlay, labels and diagnostics side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path(__file__).parents[1] / "config"


def panels(layout: Any) -> Iterator[str]:
    """The panels of a layout's tree, which must be of Foxglove's form all the way down."""
    if isinstance(layout, str):
        yield layout
        return
    assert layout.keys() == {"direction", "splitPercentage", "first", "second"}
    assert layout["direction"] in ("row", "column") and 0 < layout["splitPercentage"] < 100
    yield from panels(layout["first"])
    yield from panels(layout["second"])


def test_the_foxglove_layout_is_of_foxglove_s_form() -> None:
    layout = json.loads((CONFIG / "vltseg_foxglove.json").read_text())
    assert layout.keys() == {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"}
    shown = list(panels(layout["layout"]))
    assert sorted(shown) == sorted(layout["configById"])  # each panel once, each with its settings
    assert {panel.partition("!")[0] for panel in shown} == {"Image", "RawMessages", "DiagnosticSummary"}
    images = {c["imageMode"]["imageTopic"] for panel, c in layout["configById"].items() if panel.startswith("Image!")}
    assert images == {"/camera/image", "/semantic/overlay/compressed", "/semantic/labels", "/ground_truth/labels"}  # as in bags
    assert layout["configById"]["DiagnosticSummary!node"]["topicToRender"] == "/diagnostics"


def test_rviz_docks_are_the_displays() -> None:
    config = yaml.safe_load((CONFIG / "vltseg.rviz").read_text())
    displays = {display["Name"]: display["Topic"]["Value"] for display in config["Visualization Manager"]["Displays"]}
    assert displays == {
        "Camera": "image",
        "Overlay": "semantic/overlay",
        "Labels": "semantic/labels",
        "Confidence": "semantic/confidence",
    }
    state = bytes.fromhex(config["Window Geometry"]["QMainWindow State"])  # Qt's, with the docks' names in UTF-16
    for name in (*displays, "Displays"):
        assert name.encode("utf-16-be") in state and config["Window Geometry"][name] == {"collapsed": False}
