# SPDX-License-Identifier: Apache-2.0
"""/clock for nodes with use_sim_time: the time at which a bag is being played, in the bag's own time."""

from __future__ import annotations

import threading
import time

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage

_LAST_SECOND = 2**31 - 1  # a bag's time may lie behind what ROS can tell
RATE_HZ = 40.0
"""As `ros2 bag play --clock` has it."""


class SimClock:
    """Publishes /clock 40 times a second once it was started, and whenever it is set; call it from any thread."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(ClockMessage, "/clock", 1)
        self._lock = threading.Lock()
        self._since: tuple[int, float, float] | None = None
        node.create_timer(1 / RATE_HZ, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set(self, time_ns: int, rate: float) -> None:
        """It is `time_ns` now, and goes on at `rate` times real time; 0: it stands until it is set again."""
        with self._lock:
            self._since = (max(time_ns, 0), time.monotonic(), rate)
        self._tick()

    def _tick(self) -> None:
        with self._lock:
            if self._since is None:
                return
            time_ns, since_s, rate = self._since
            now_ns = time_ns + round((time.monotonic() - since_s) * rate * 1e9)
            seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
            self._publisher.publish(ClockMessage(clock=Time(sec=min(seconds, _LAST_SECOND), nanosec=nanoseconds)))
