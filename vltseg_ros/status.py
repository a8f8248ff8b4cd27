# SPDX-License-Identifier: Apache-2.0
"""How the node is, in one word and one sentence: levels that an operator understands, and a latched topic with the last.

OK: masks come. WARN: they come, and something is wrong with them or with an input. ERROR: they do not come, and somebody
has to act. STALE: no camera sends anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rclpy.node
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_NUMBER = re.compile(r"\d+(\.\d+)?")
STATUS_TOPIC = "~/status"


@dataclass(frozen=True)
class Findings:
    """What is wrong, in sentences. errors: no masks come. warnings: they do. silent: cameras that send nothing."""

    errors: Sequence[str] = ()
    warnings: Sequence[str] = ()
    silent: Sequence[str] = ()
    all_silent: bool = field(default=False)

    @property
    def level(self) -> bytes:
        """The worst of them, as DiagnosticStatus counts."""
        if self.errors:
            return DiagnosticStatus.ERROR
        if self.silent and self.all_silent:
            return DiagnosticStatus.STALE
        return DiagnosticStatus.WARN if self.warnings or self.silent else DiagnosticStatus.OK

    @property
    def sentence(self) -> str:
        """All of them, the worst first; empty where there are none."""
        return "; ".join([*self.errors, *self.silent, *self.warnings])


def status_of(name: str, findings: Findings, *, summary: str, values: Mapping[str, str]) -> DiagnosticStatus:
    """One status of that name; the summary is its sentence where nothing is wrong."""
    return DiagnosticStatus(
        level=findings.level,
        name=name,
        message=findings.sentence or summary,
        hardware_id=values.get("device", ""),
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


class StatusTopic:
    """`~/status`, a diagnostic_msgs/DiagnosticStatus that late listeners get too; published when something changes.

    Numbers in the sentence (seconds of silence, masks a second) are no change.
    """

    SHOWN = ("state", "checkpoint", "device", "backend", "frames in", "frames out")
    """The values that it carries; all are on /diagnostics."""

    def __init__(self, node: LifecycleNode) -> None:
        # a lifecycle publisher would be mute exactly while the node is not active
        self._publisher: Any = rclpy.node.Node.create_publisher(node, DiagnosticStatus, STATUS_TOPIC, _LATCHED)
        self._last: tuple[object, ...] | None = None

    def update(self, status: DiagnosticStatus) -> bool:
        """Publish what is new in it; whether anything was."""
        shown = [pair for pair in status.values if pair.key in self.SHOWN]
        state = next((pair.value for pair in shown if pair.key == "state"), "")
        seen = (status.level, state, _NUMBER.sub("#", status.message))
        if seen == self._last:
            return False
        self._last = seen
        self._publisher.publish(
            DiagnosticStatus(
                level=status.level, name=status.name, message=status.message, hardware_id=status.hardware_id, values=shown
            )
        )
        return True
