# SPDX-License-Identifier: Apache-2.0
"""What the node tells of itself: one status for the node, and one for each camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from vltseg_ros.black_box import BlackBox
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.input_watch import InputWatch
from vltseg_ros.status import Findings, StatusTopic, status_of

_ACK_PATIENCE = Duration(seconds=1)
NO_CAMERA_NAME = "camera"
"""What the single camera without a name is called."""


@dataclass(frozen=True)
class NodeCondition:
    """What there is to tell. building: the step that a backend's building is at, empty where none is built.

    build_failure: why there is no compiled backend, empty where there is one or none is wanted; is_fatal: whether the
    node then answers nothing. silent: a sentence for each camera that sends nothing. trouble: what the network suffers from
    meanwhile. failure: why it was given up, empty where it was not.
    """

    statistics: FrameStatistics
    watch: InputWatch | None = None
    building: str = ""
    build_failure: str = ""
    is_fatal: bool = False
    silent: Mapping[str, str] = field(default_factory=dict)
    trouble: Sequence[str] = ()
    failure: str = ""


def findings_of(condition: NodeCondition, cameras: tuple[str, ...]) -> Findings:
    """What is wrong with the node, its cameras included."""
    errors, warnings = [], list(condition.trouble)
    if condition.failure:
        errors.append(condition.failure)
    if condition.building:
        warnings.append(f"building the backend: {condition.building}")
    elif condition.build_failure:
        sentence = f"the backend could not be built: {condition.build_failure}"
        (errors if condition.is_fatal else warnings).append(sentence)
    trouble = condition.statistics.recent_trouble()
    if condition.statistics.answers_nothing and not condition.building:
        errors.append(f"no masks: {', '.join(trouble)}")
    else:
        warnings += trouble
    for camera in cameras if condition.watch else ():
        warnings += [f"{_named(camera)}: {warning}" for warning in _warnings(condition, camera)]
    silent = list(condition.silent.values())
    return Findings(errors, warnings, silent, all_silent=bool(silent) and len(silent) == len(cameras))


class NodeReports:
    """Publishes them on /diagnostics, and what is new on `~/status`."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        # a lifecycle publisher would be mute exactly while the node is not active
        self._diagnostics: Any = Node.create_publisher(node, DiagnosticArray, "/diagnostics", 10)
        self._status = StatusTopic(node)
        self._was_in_error = False

    def publish(
        self, condition: NodeCondition, cameras: tuple[str, ...], values: Mapping[str, str], black_box: BlackBox | None
    ) -> None:
        """Tell how it is now; also to the black box, which is written when an error begins.

        cameras: those that the node listens to. values: shown by name; "state" is the lifecycle's.
        """
        summary = f"{values['state']}, {values['frame rate out (Hz)']} masks/s" if cameras else values["state"]
        shown = {**values, "building": condition.building} if condition.building else values
        name = self._node.get_fully_qualified_name()
        status = status_of(name, findings_of(condition, cameras), summary=summary, values=shown)
        array = DiagnosticArray(status=[status, *(camera_status(name, condition, camera) for camera in cameras)])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(array)
        self._status.update(status)
        is_in_error = status.level == DiagnosticStatus.ERROR
        if black_box is not None:
            black_box.remember_state("/diagnostics", array)
            if is_in_error and not self._was_in_error:
                black_box.write(status.message)
        self._was_in_error = is_in_error

    def wait_until_sent(self) -> None:
        """Wait a second at most for listeners to have the last report."""
        self._diagnostics.wait_for_all_acked(_ACK_PATIENCE)


def camera_status(name: str, condition: NodeCondition, camera: str) -> DiagnosticStatus:
    """A camera's status, under the node's name."""
    silent = [condition.silent[camera]] if camera in condition.silent else []
    findings = Findings(warnings=_warnings(condition, camera), silent=silent, all_silent=bool(silent))
    values = condition.watch.values(camera) if condition.watch else {}
    return status_of(f"{name}: {_named(camera)}", findings, summary="sees", values=values)


def _warnings(condition: NodeCondition, camera: str) -> list[str]:
    return condition.watch.warnings(camera) if condition.watch else []


def _named(camera: str) -> str:
    return f"camera {camera}" if camera else NO_CAMERA_NAME
