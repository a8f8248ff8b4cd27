# SPDX-License-Identifier: Apache-2.0
"""The node under load for a long time: many cameras into a network that cannot keep up, with what it holds over time.

    python benchmarks/soak.py [--minutes 20] [--cameras 6] [--rate-hz 60] [--json FILE] [--svg FILE]

The node is the installed one with the weights that come with the package, in its own process. Latency is from an image's
publication to its mask's arrival at a program in another process. Memory, threads and open files are the node's process's.
Exit code 1 where masks stop, a camera gets less than half of what another gets, or memory grows without end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from vltseg_core.evaluation.line_chart import line_charts
from vltseg_core.evaluation.machine import describe_machine
from vltseg_ros.dds_environment import isolated_dds

NODE = (sys.executable, "-m", "vltseg_ros.node_command")
HEIGHT, WIDTH = 48, 64
_START_PATIENCE_S = 90.0


@dataclass(frozen=True)
class Moment:
    """What there was at an instant, and in the interval before it. Latencies in ms, over all cameras."""

    minutes: float
    memory_mb: float
    threads: int
    open_files: int
    masks_a_second: float
    latency_median_ms: float
    latency_p95_ms: float


@dataclass
class Soak:
    """All moments; sent and masks by camera; the node's own last diagnostics."""

    cameras: int
    rate_hz: float
    moments: list[Moment] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    masks: dict[str, int] = field(default_factory=dict)
    diagnostics: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def spread(self) -> float:
        """Masks of the camera with the fewest as a share of those of the one with the most."""
        return min(self.masks.values()) / max(self.masks.values()) if len(self.masks) == self.cameras else 0.0

    @property
    def memory_growth_mb(self) -> float:
        """Median memory of the last fifth less that of the second fifth."""
        memory = [moment.memory_mb for moment in self.moments]
        fifth = max(1, len(memory) // 5)
        return float(np.median(memory[-fifth:]) - np.median(memory[fifth : 2 * fifth] or memory[:1]))


class Cameras:
    """Publishes on every camera's topic and listens to every mask; spins in a thread of its own."""

    def __init__(self, soak: Soak) -> None:
        rclpy.init(args=[])
        self.node = Node("cameras")
        self._soak, self._lock = soak, threading.Lock()
        self._latencies_s: list[float] = []
        self.may_count = False
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        names = [f"camera_{number}" for number in range(soak.cameras)]
        pixels = np.full(HEIGHT * WIDTH * 3, 90, np.uint8).tobytes()
        for name in names:
            publisher = self.node.create_publisher(Image, f"/{name}/image", best_effort)
            message = Image(encoding="rgb8", height=HEIGHT, width=WIDTH, step=3 * WIDTH, data=pixels)
            self.node.create_timer(1 / soak.rate_hz, partial(self._send, name, publisher, message), clock=steady)
            self.node.create_subscription(Image, f"/{name}/semantic/labels", partial(self._receive, name), 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _send(self, name: str, publisher: Any, message: Image) -> None:
        now_ns = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 1_000_000_000)
        publisher.publish(message)
        if self.may_count:
            self._soak.sent[name] = self._soak.sent.get(name, 0) + 1

    def _receive(self, name: str, mask: Image) -> None:
        stamp = mask.header.stamp
        latency_s = time.time() - stamp.sec - stamp.nanosec / 1e9
        with self._lock:
            if self.may_count:
                self._soak.masks[name] = self._soak.masks.get(name, 0) + 1
                self._latencies_s.append(latency_s)

    def _hear(self, array: DiagnosticArray) -> None:
        self._soak.diagnostics = {pair.key: pair.value for pair in array.status[0].values}

    def take_latencies_s(self) -> list[float]:
        """Those since the last call."""
        with self._lock:
            taken, self._latencies_s = self._latencies_s, []
        return taken

    def close(self) -> None:
        """End it."""
        self._executor.shutdown(5)  # before what its callbacks use goes with the context
        rclpy.try_shutdown()
        self._thread.join(5)


def run(
    command: Sequence[str], *, seconds: float, cameras: int, rate_hz: float, interval_s: float, parameters: Sequence[str] = ()
) -> Soak:
    """Start the node, load it for that long, end it by SIGINT."""
    soak = Soak(cameras, rate_hz)
    names = ", ".join(f"camera_{number}" for number in range(cameras))
    arguments = ["--ros-args"]
    for parameter in (f"cameras:=[{names}]", "max_batch_size:=2", *parameters):
        arguments += ["-p", parameter]
    with isolated_dds():
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env={**os.environ}
        )
        company = Cameras(soak)
        try:
            _wait_for_masks(company, process)
            _watch(soak, company, psutil.Process(process.pid), seconds, interval_s)
            process.send_signal(2)
            soak.exit_code = process.wait(30)
        finally:
            company.close()
            if process.poll() is None:
                process.kill()
                process.wait()
    return soak


def _wait_for_masks(company: Cameras, process: subprocess.Popen[bytes]) -> None:
    company.may_count, end = True, time.monotonic() + _START_PATIENCE_S
    while len(company._soak.masks) < company._soak.cameras:
        assert process.poll() is None and time.monotonic() < end, "no masks from every camera"
        time.sleep(0.1)
    company.may_count = False
    company._soak.masks.clear()
    company._soak.sent.clear()
    company.take_latencies_s()
    company.may_count = True


def _watch(soak: Soak, company: Cameras, process: psutil.Process, seconds: float, interval_s: float) -> None:
    start = time.monotonic()
    while (passed_s := time.monotonic() - start) < seconds:
        time.sleep(min(interval_s, max(0.1, seconds - passed_s)))
        latencies_ms = np.array(company.take_latencies_s()) * 1000
        median, p95 = np.percentile(latencies_ms, (50, 95)) if latencies_ms.size else (float("nan"), float("nan"))
        soak.moments.append(
            Moment(
                round((time.monotonic() - start) / 60, 3),
                round(process.memory_info().rss / 1e6, 1),
                process.num_threads(),
                process.num_fds(),
                round(len(latencies_ms) / interval_s, 1),
                round(float(median), 1),
                round(float(p95), 1),
            )
        )


def chart(soak: Soak) -> str:
    """Memory, what is open, and latency over the minutes, as SVG."""

    def curve(name: str) -> list[tuple[float, float]]:
        return [(moment.minutes, getattr(moment, name)) for moment in soak.moments]

    panels = {
        "Resident memory of the node (MB)": {"memory": curve("memory_mb")},
        "Threads and open files of the node": {"threads": curve("threads"), "open files": curve("open_files")},
        "Latency from image to mask (ms)": {"median": curve("latency_median_ms"), "p95": curve("latency_p95_ms")},
        "Masks a second, all cameras": {"masks/s": curve("masks_a_second")},
    }
    return line_charts(panels, "minutes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long")
    parser.add_argument("--cameras", type=int, default=6, help="how many")
    parser.add_argument("--rate-hz", type=float, default=60.0, help="frames a second of each")
    parser.add_argument("--interval-s", type=float, default=10.0, help="between two looks at the process")
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--svg", type=Path, help="file for the charts")
    arguments = parser.parse_args()
    soak = run(
        NODE,
        seconds=60 * arguments.minutes,
        cameras=arguments.cameras,
        rate_hz=arguments.rate_hz,
        interval_s=arguments.interval_s,
    )
    figures = {"spread": round(soak.spread, 3), "memory_growth_mb": round(soak.memory_growth_mb, 1)}
    figures["load_average"] = round(os.getloadavg()[0], 1)
    if arguments.json:
        result = {"machine": dict(describe_machine()), "date": str(date.today()), **figures, **asdict(soak)}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(chart(soak))
    print(json.dumps(figures), soak.moments[0], soak.moments[-1], dict(soak.sent), dict(soak.masks), soak.exit_code, sep="\n")
    is_well = soak.exit_code == 0 and soak.spread > 0.5 and soak.memory_growth_mb < 50
    return 0 if is_well and all(moment.masks_a_second > 0 for moment in soak.moments) else 1


if __name__ == "__main__":
    sys.exit(main())
