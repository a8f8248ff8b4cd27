# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken image messages into the real node: nothing may crash it, leak, or keep it from the next good one.

    python benchmarks/fuzz.py [--messages 100000] [--seed 0] [--dds-share 0.1] [--no-large] [--json FILE]

Most go in process through the subscriptions' own callbacks, the slots and the worker thread; the rest over DDS into a node
in a process of its own, some of them as bytes that are no message at all. A stand-in takes the network's place. Exit code 1
where a sound message was not answered, a bad one not counted, an exception got out, or memory grew.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from fuzz_peer import Peer
from hostile_messages import Drawn, HostileMessages
from image_bombs import bombs
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.labels import CITYSCAPES
from vltseg_core.runtime import Segmentation, SegmenterDescription
from vltseg_ros.dds_environment import isolated_dds
from vltseg_ros.segmentation_node import SegmentationNode
from vltseg_ros.segmentation_node import main as run_node

CAMERAS = ("front", "left")
MAX_GROWTH_MB = 60.0
_BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_PATIENCE_S = 20.0
_LARGEST_FIRST = 8
"""Largest images before memory is measured: each of the middleware's buffers, used in turn, keeps the largest that it held."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dds-share", type=float, default=0.1, help="share of the messages that go over DDS")
    parser.add_argument("--no-large", action="store_true", help="no images of 1080p to 8K")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--serve", choices=("raw", "compressed"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve)
    num_dds = round(arguments.messages * arguments.dds_share)
    results = []
    with isolated_dds():
        rclpy.init()
        for transport in ("raw", "compressed"):
            share = (arguments.messages - num_dds + (transport == "raw")) // 2
            results.append(in_process(transport, share, arguments.seed, large=not arguments.no_large))
            if num_dds:
                results.append(over_dds(transport, (num_dds + (transport == "raw")) // 2, arguments.seed + 1))
        rclpy.try_shutdown()
    for result in results:
        print_table(result)
    print(f"seed {arguments.seed}; {', '.join(value for _, value in describe_machine())}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    failures = [failure for result in results for failure in result["failures"]]
    words = [result["last words"] for result in results if result.get("last words")]
    print("\n".join([*failures[:20], *words]) or "no failure")
    return 1 if failures else 0


class StandIn:
    """In the network's place: labels of zeros at each image's size, once the image is what a network may count on."""

    classes = CITYSCAPES
    has_backend_to_build = False
    uploads_beside_the_network = False

    def load(self, checkpoint: str, **options: Any) -> StandIn:
        return self

    def segment(self, images: Sequence[NDArray[np.uint8]], **options: Any) -> list[Segmentation]:
        for image in images:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.flags.c_contiguous
        return [Segmentation(np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], np.uint8)) for image in images]

    def warm_up(self, image_size: tuple[int, int] = (1, 1), batch_size: int = 1) -> float:
        return 0.0

    def describe(self) -> SegmenterDescription:
        return SegmenterDescription("stand-in", "custom", CITYSCAPES, 1, "cpu", "fp32", "eager", "no other", None, "nothing")

    def memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


def node_arguments(transport: str) -> list[str]:
    """Two cameras, and a log of nothing but what is fatal."""
    reports, sizes = "diagnostics_period_s:=0.1", "max_image_megapixels:=68.0"
    names = (f"image_transport:={transport}", f"cameras:=[{', '.join(CAMERAS)}]", reports, sizes)
    return ["--ros-args", "--log-level", "fatal", *(word for name in names for word in ("-p", name))]


def active_node(transport: str) -> SegmentationNode:
    """The real node, active, a stand-in for the network."""
    node = SegmentationNode(segmenter_factory=StandIn().load, cli_args=node_arguments(transport))
    node.trigger_configure()
    node.trigger_activate()
    return node


def in_process(transport: str, num_messages: int, seed: int, *, large: bool) -> dict[str, Any]:
    """Every message through the callback of one of the node's subscriptions, answered or counted before the next."""
    node, listener = active_node(transport), listening()
    wait_for_listener(node)
    callbacks = [found.callback for name in CAMERAS for found in node.subscriptions if f"/{name}/image" in found.topic_name]
    hostile = HostileMessages(seed, compressed=transport == "compressed", large=large)
    if transport == "compressed":
        bombs()  # made before memory is measured
    result = new_result(f"{transport}, in process")
    for number in range(_LARGEST_FIRST if large else 0):
        for callback in callbacks:
            largest = hostile.largest(number)
            judge(result, largest, served(node, callback, largest))
    start, memory_mb = time.perf_counter(), []
    for number in range(num_messages):
        drawn = hostile.draw()
        callback = callbacks[number % 2]
        judge(result, drawn, served(node, callback, drawn))
        if drawn.expected != "answered" and number % 5 == 0:
            good = hostile.good()
            judge(result, good, served(node, callback, good))
        if number % max(1, num_messages // 20) == 0:
            memory_mb.append(rss_mb(os.getpid()))
    memory_mb.append(rss_mb(os.getpid()))
    finish(result, node._statistics.counts, memory_mb, time.perf_counter() - start)
    node.close()
    node.destroy_node()
    listener.destroy_node()
    return result


def listening() -> Node:
    """Somebody who wants everything that the node can publish, so that all of it is made."""
    listener = Node("listener")
    for camera in CAMERAS:
        for name, kind in (("labels", Image), ("confidence", Image), ("overlay", Image), ("overlay/compressed", CompressedImage)):
            listener.create_subscription(kind, f"{camera}/semantic/{name}", lambda message: None, _BEST_EFFORT)
    return listener


def wait_for_listener(node: SegmentationNode) -> None:
    end = time.monotonic() + 10
    while node.count_subscribers(f"{CAMERAS[-1]}/semantic/overlay/compressed") == 0 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)


def served(node: SegmentationNode, callback: Callable[[Any], None], drawn: Drawn) -> str:
    """Give the node a message and wait for its fate: answered, rejected, error or nothing."""
    statistics = node._statistics
    before = statistics.counts
    callback(drawn.message)
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        now = statistics.counts
        for fate, grew in (
            ("answered", now.answered > before.answered),
            ("rejected", sum(now.rejected.values()) > sum(before.rejected.values())),
            ("error", now.errors > before.errors),
        ):
            if grew:
                return fate
        time.sleep(2e-5)  # long enough for the worker to get the interpreter
    return "nothing"


def judge(result: dict[str, Any], drawn: Drawn, fate: str) -> None:
    result["kinds"].setdefault(drawn.kind, Counter())[fate] += 1
    if fate in ("error", "nothing") or (drawn.expected and fate != drawn.expected):
        message = drawn.message
        fields = {name: str(getattr(message, name, ""))[:40] for name in ("encoding", "height", "width", "step", "format")}
        result["failures"].append(f"{result['name']}: {drawn.kind} {fields}, {len(message.data)} bytes: {fate}")


def new_result(name: str) -> dict[str, Any]:
    return {"name": name, "kinds": {}, "failures": []}


def finish(result: dict[str, Any], counts: Any, memory_mb: list[float], seconds: float) -> None:
    growth_mb = memory_mb[-1] - memory_mb[len(memory_mb) // 4]
    result |= {
        "received": counts.received, "answered": counts.answered, "dropped": counts.dropped, "errors": counts.errors,
        "rejected": dict(counts.rejected), "memory_mb": [round(mb, 1) for mb in memory_mb], "growth_mb": round(growth_mb, 1),
        "seconds": round(seconds, 1),
    }  # fmt: skip
    accounted = counts.answered + counts.dropped + counts.errors + sum(counts.rejected.values())
    if accounted != counts.received:
        result["failures"].append(f"{result['name']}: {counts.received} messages received, {accounted} accounted for")
    if growth_mb > MAX_GROWTH_MB:
        result["failures"].append(f"{result['name']}: memory grew by {growth_mb:.0f} MB")


def rss_mb(pid: int) -> float:
    gc.collect()
    return psutil.Process(pid).memory_info().rss / 1e6


def serve(transport: str) -> int:
    """The node as it is run, in a process of its own, until a signal."""
    return run_node(node_arguments(transport), segmenter_factory=StandIn().load)


def over_dds(transport: str, num_messages: int, seed: int) -> dict[str, Any]:
    """Bad messages on one camera's topic, good ones on the other's; every good one must be answered."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen([sys.executable, __file__, "--serve", transport], stderr=words)
        result = converse(transport, num_messages, seed, process)
        words.seek(0)
        result["last words"] = words.read()[-2000:] if result["failures"] else ""
    return result


def converse(transport: str, num_messages: int, seed: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """As `over_dds`, with the node's process."""
    peer = Peer(transport, CAMERAS)
    result = new_result(f"{transport}, over DDS")
    hostile = HostileMessages(seed, compressed=transport == "compressed", large=False)
    rng = random.Random(seed)
    start, memory_mb = time.perf_counter(), []
    try:
        peer.wait_until_ready()
        for number in range(num_messages // 2):
            kind = peer.send_bad(hostile.draw(), rng)
            result["kinds"].setdefault(kind, Counter())["sent"] += 1
            fate = peer.ask(hostile.good())
            result["kinds"].setdefault("sound, after each", Counter())[fate] += 1
            if fate != "answered":
                result["failures"].append(f"{result['name']}: a sound message after '{kind}' got {fate}")
            if process.poll() is not None:
                result["failures"].append(f"{result['name']}: the node ended with {process.returncode} after '{kind}'")
                break
            if number % max(1, num_messages // 40) == 0:
                memory_mb.append(rss_mb(process.pid))
        counts = peer.counts()
        memory_mb.append(rss_mb(process.pid))
        finish(result, counts, memory_mb, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(20)
        peer.close()
    if process.returncode != 0:
        result["failures"].append(f"{result['name']}: the node ended with exit code {process.returncode}")
    return result


def print_table(result: dict[str, Any]) -> None:
    print(f"\n{result['name']}: {result['received']} received, {result['answered']} answered, {result['dropped']} dropped, "
          f"{sum(result['rejected'].values())} rejected, {result['errors']} lost to errors; {result['seconds']:.0f} s; "
          f"memory {result['memory_mb'][0]:.0f} MB at first, {result['memory_mb'][-1]:.0f} MB at last")  # fmt: skip
    print("\n| rejected for | messages |\n| --- | --- |")
    for reason, number in sorted(result["rejected"].items()):
        print(f"| {reason} | {number} |")
    print("\n| kind | fate |\n| --- | --- |")
    for kind, fates in sorted(result["kinds"].items()):
        print(f"| {kind} | {', '.join(f'{number} {fate}' for fate, number in sorted(fates.items()))} |")


if __name__ == "__main__":
    sys.exit(main())
