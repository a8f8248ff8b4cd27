# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policy allows what the node does, and nothing more."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from tests.vltseg_ros.stand_in_segmenter import StandInSegmenter
from vltseg_ros.segmentation_node import SegmentationNode

POLICY = Path(__file__).parents[2] / "config" / "sros2_policy.xml"
WHERE_INSTALLED = {"publish": {"/semantic/label_info"}, "reply": {"/vltseg/get_type_description"}}
"""Of vision_msgs, and of ROS distributions since Jazzy: not in every graph."""


def allowed(right: str) -> set[str]:
    """The names that the policy gives that right to."""
    found = [section for section in ET.parse(POLICY).iter() if section.get(right) == "ALLOW"]
    names = [expression.text or "" for section in found for expression in section]
    assert len(set(names)) == len(names)
    return set(names)


def used(start_node: Callable[..., Any], peer: Any, *parameters: str) -> Callable[[str], set[str]]:
    """What an active node publishes, subscribes to and answers, as is known at each call."""
    given = [word for parameter in parameters for word in ("-p", parameter)]
    spinning = start_node(functools.partial(SegmentationNode, segmenter_factory=StandInSegmenter().load), given)
    node = spinning.node
    node.trigger_configure()
    node.trigger_activate()
    spinning.start()
    asked = {
        "publish": peer.node.get_publisher_names_and_types_by_node,
        "subscribe": peer.node.get_subscriber_names_and_types_by_node,
        "reply": peer.node.get_service_names_and_types_by_node,
    }
    assert peer.spin_until(lambda: ("vltseg", "/") in peer.node.get_node_names_and_namespaces())
    assert peer.spin_until(lambda: len(asked["reply"]("vltseg", "/")) >= 11 and asked["subscribe"]("vltseg", "/"))
    peer.spin_until(lambda: False, 1.0)
    return lambda right: {name for name, _ in asked[right]("vltseg", "/")}


@pytest.mark.parametrize(
    ("parameters", "subscribed"),
    [
        (("use_sim_time:=true",), {"/image", "/clock"}),
        (("image_transport:=compressed",), {"/image/compressed"}),
    ],
)
def test_the_policy_names_exactly_what_the_node_uses(
    start_node: Callable[..., Any], peer: Any, parameters: tuple[str, ...], subscribed: set[str]
) -> None:
    found = used(start_node, peer, *parameters)
    expected = {"subscribe": subscribed, "publish": allowed("publish"), "reply": allowed("reply")}
    for right, names in expected.items():
        installed = WHERE_INSTALLED.get(right, set())
        peer.spin_until(lambda: found(right) | installed == names, 30)  # noqa: B023
        assert found(right) | installed == names


def test_it_may_listen_to_its_images_and_the_clock_alone() -> None:
    assert allowed("subscribe") == {"/image", "/image/compressed", "/clock"}
    assert allowed("request") == set()


def test_the_file_is_of_the_schema() -> None:
    root = ET.parse(POLICY).getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    (profile,) = root.findall("enclaves/enclave/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "vltseg")
    assert root.find("enclaves/enclave").get("path") == "/vltseg"  # type: ignore[union-attr]
    for section in profile:
        assert section.tag in ("topics", "services")
        assert {child.tag for child in section} == {section.tag[:-1]}
