# SPDX-License-Identifier: Apache-2.0
"""The node's own time: from publishing an image to its mask, beside a bare rclpy republisher of the same messages.

    python benchmarks/node_overhead.py [--sizes 640x360 1920x1080] [--cameras 1 6] [--transports raw compressed]
        [--num-rounds 60] [--rate-s 20] [--default-allocator] [--output FILE.json]

Processes of their own: this one publishes and receives, the node with a network that takes no time (fixed labels), and a
node that only publishes as many bytes as a mask has; for compressed images also one that decodes them first. In every round
each is asked once, in turn: an image a camera at once, then all answers are waited for. Then the real node, `tiny`, is given
640x360 images faster than it can serve, twice by each backend that a CPU has use for, in turn, and the masks are counted
(--rate-s 0 leaves that out). The DDS profile is the one
that the package ships.

A small process gives its memory back to the kernel after every large message and pays for it again with the next, which
doubles the bare node's time at 1080p and makes a larger one look fast. So the nodes that are compared all keep their memory
(glibc's MALLOC_ variables); --default-allocator leaves it to each.
"""

from __future__ import annotations

import argparse
import array
import functools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from result_table import Row, finish
from sensor_msgs.msg import CompressedImage, Image

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.runtime.build_engine import build_ahead
from vltseg_core.runtime.engine_cache import EngineCache
from vltseg_core.runtime.onnxruntime_backend import missing_package
from vltseg_core.runtime.run_time_network import NetworkShape
from vltseg_ros import bag_messages
from vltseg_ros.dds_environment import isolated_dds
from vltseg_ros.node_process import SEGMENTATION_NODE, NodeProcess

FOLDER = Path(__file__).parent
NODES = {"node": "fixed_labels_node.py", "bare": "bare_republisher.py", "decoding": "bare_republisher.py"}
KEEPING_MEMORY = {f"MALLOC_{name}_": str(2**30) for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD")}
NUM_WARM_UP, LEAST_ROUNDS, ROUND_TIMEOUT_S, MOST_SECONDS_A_ROW = 5, 3, 1.0, 12.0
WARM_UP_S = 5.0  # while an engine is loaded beside the node no frame is answered
STAMP = slice(4, 12)  # of a serialised message: seconds and nanoseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["640x360", "1280x720", "1920x1080", "3840x2160"])
    parser.add_argument("--cameras", nargs="+", type=int, default=[1, 2, 6])
    parser.add_argument("--transports", nargs="+", choices=("raw", "compressed"), default=["raw", "compressed"])
    parser.add_argument("--num-rounds", type=int, default=60)
    parser.add_argument("--rate-s", type=float, default=20.0, help="seconds for which the real node's masks are counted")
    parser.add_argument("--default-allocator", action="store_true", help="do not have the nodes keep their memory")
    parser.add_argument("--output", type=Path, help="where the same goes as JSON")
    arguments = parser.parse_args()
    began, rows = time.monotonic(), []
    with isolated_dds(), tempfile.TemporaryDirectory() as logs:
        total = len(arguments.transports) * len(arguments.cameras) * len(arguments.sizes)
        for transport in arguments.transports:
            for num_cameras in arguments.cameras:
                allocator = {} if arguments.default_allocator else KEEPING_MEMORY
                with nodes(transport, num_cameras, Path(logs), allocator) as asked:
                    for size in arguments.sizes:
                        rows.append(compared(asked, transport, num_cameras, size, arguments.num_rounds))
                        left_s = (time.monotonic() - began) / len(rows) * (total - len(rows))
                        print(f"{len(rows)}/{total}, {left_s:.0f} s left: {rows[-1]}", file=sys.stderr, flush=True)
        missing = missing_package()
        if missing:
            print(f"the real node by eager alone: {missing}", file=sys.stderr)
        backends = 2 * (("eager",) if missing else ("eager", "onnxruntime")) if arguments.rate_s else ()
        rates = [masks_a_second((360, 640), backend, arguments.rate_s, Path(logs)) for backend in backends]
    finish({"overhead": rows, "rate": rates}, arguments.output, load_of_the_machine=os.getloadavg()[0])


@dataclass
class Asked:
    """One node, asked over its cameras' topics. answers: seconds at which each stamp's mask came."""

    publishers: list[Any]
    answers: dict[int, float] = field(default_factory=dict)
    num_bytes: set[int] = field(default_factory=set)


class Asker:
    """The process that publishes and receives."""

    def __init__(self) -> None:
        rclpy.init()
        self.ros = rclpy.create_node("node_overhead", start_parameter_services=False, enable_rosout=False)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.ros)
        self.asked: dict[str, Asked] = {}

    def add(self, name: str, namespace: str, cameras: Sequence[str], transport: str, process: NodeProcess) -> None:
        """Connect to a node and wait until it is there."""
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        kind, suffix = (Image, "") if transport == "raw" else (CompressedImage, "/compressed")
        topics = [f"{namespace}/{camera}" if camera else namespace for camera in cameras]
        asked = self.asked[name] = Asked([self.ros.create_publisher(kind, f"{t}/image{suffix}", qos) for t in topics])
        for topic in topics:
            heard = functools.partial(self._hear, asked)
            self.ros.create_subscription(Image, f"{topic}/semantic/labels", heard, qos, raw=True)
        end = time.monotonic() + 60
        while not all(
            publisher.get_subscription_count() and self.ros.count_publishers(f"{topic}/semantic/labels")
            for publisher, topic in zip(asked.publishers, topics, strict=True)
        ):
            process.require_running()
            assert time.monotonic() < end, f"{name} did not start: {process.last_words()}"
            self.spin(0.1)
        self.spin(0.5)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def round(self, name: str, stamped: Sequence[tuple[int, bytes]]) -> list[float | None]:
        """An image to each camera, then all answers: seconds from publishing to each; None for one that never came."""
        asked = self.asked[name]
        asked.answers.clear()
        asked.num_bytes.clear()
        sent: dict[int, float] = {}
        for publisher, (stamp_ns, message) in zip(asked.publishers, stamped, strict=True):
            sent[stamp_ns] = time.perf_counter()
            publisher.publish(message)
        end = time.monotonic() + ROUND_TIMEOUT_S
        while len(asked.answers) < len(sent) and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.1)
        return [asked.answers[stamp] - sent_s if stamp in asked.answers else None for stamp, sent_s in sent.items()]

    def close(self) -> None:
        self.executor.shutdown()
        self.ros.destroy_node()
        rclpy.try_shutdown()

    def _hear(self, asked: Asked, cdr: bytes) -> None:
        asked.answers[bag_messages.stamp_of(cdr)] = time.perf_counter()
        asked.num_bytes.add(len(cdr))


@contextmanager
def nodes(transport: str, num_cameras: int, logs: Path, environment: dict[str, str]) -> Iterator[Asker]:
    """What is compared, all running in that environment and connected."""
    cameras = [f"camera{n}" for n in range(num_cameras)]
    names = list(NODES) if transport == "compressed" else ["node", "bare"]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment))
        asker = Asker()
        stack.callback(asker.close)
        parameters: dict[str, object] = {"cameras": cameras, "image_transport": transport}
        processes = {
            name: stack.enter_context(
                NodeProcess(
                    (sys.executable, str(FOLDER / NODES[name])),
                    name=name,
                    namespace=f"/{name}",
                    parameters=parameters | ({"decode": True} if name == "decoding" else {}),
                    log_path=logs / f"{name}.log",
                )
            )
            for name in names
        }
        for name, process in processes.items():
            asker.add(name, f"/{name}", cameras, transport, process)
        yield asker


def compared(asker: Asker, transport: str, num_cameras: int, size: str, num_rounds: int) -> Row:
    """Every node's latencies for one kind of image."""
    width, height = map(int, size.split("x"))
    serialised = bytearray(serialize_message(image_message(size, transport)))
    names = list(asker.asked)
    seconds: dict[str, list[float | None]] = {name: [] for name in names}
    number, end = 0, time.monotonic() + MOST_SECONDS_A_ROW
    for round_number in range(num_rounds + NUM_WARM_UP):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            stamps = range(number + 1, number + num_cameras + 1)
            number += num_cameras
            latencies = asker.round(name, [(stamp, with_stamp(serialised, stamp)) for stamp in stamps])
            seconds[name] += latencies if round_number >= NUM_WARM_UP else []
        if time.monotonic() > end and round_number >= NUM_WARM_UP + LEAST_ROUNDS:
            break
    wrong = {size for asked in asker.asked.values() for size in asked.num_bytes if size < width * height}
    assert not wrong, f"masks of {wrong} bytes for images of {width}x{height}"
    return {"transport": transport, "size": size, "cameras": num_cameras} | row(seconds)


def row(seconds: dict[str, list[float | None]]) -> Row:
    """Median and p95 in ms, and the masks that never came, by node; the node's p95 over the others'."""
    found: dict[str, Any] = {"masks": len(seconds["node"])}
    p95: dict[str, float | None] = dict.fromkeys(NODES)
    for name in NODES:
        latencies = seconds.get(name, [])
        came = [1e3 * latency for latency in latencies if latency is not None]
        median, p95[name] = map(float, np.percentile(came, (50, 95))) if came else (None, None)
        found |= {f"{name} median ms": median, f"{name} p95 ms": p95[name], f"{name} lost": len(latencies) - len(came)}
    for other in ("bare", "decoding"):
        own, others = p95["node"], p95[other]
        found[f"p95 over {other}"] = own / others if own and others else None
    return found


def masks_a_second(image_size: tuple[int, int], backend: str, seconds: float, folder: Path, rate_hz: float = 30.0) -> Row:
    """The real node, `tiny`, topic to topic, given more images (height, width) than it can serve; its engine is built before."""
    height, width = image_size
    size, engines = f"{width}x{height}", folder / "engines"
    if backend == "onnxruntime":
        cache = EngineCache(engines)
        build_ahead("tiny", NetworkShape(1, *image_size), backend=backend, device="cpu", cache=cache, progress=lambda step: None)
    serialised = bytearray(serialize_message(image_message(size, "raw")))
    with ExitStack() as stack:
        asker = Asker()
        stack.callback(asker.close)
        parameters = {"checkpoint": "tiny", "device": "cpu", "backend": backend, "engine_cache": str(engines)}
        parameters |= {"allow_build": False, "input_height": height, "input_width": width}
        log = folder / f"real_{backend}.log"
        process = NodeProcess(SEGMENTATION_NODE, name="vltseg", namespace="/real", parameters=parameters, log_path=log)
        stack.enter_context(process)
        asker.add("real", "/real", [""], "raw", process)
        asked, sent = asker.asked["real"], {}
        began = time.monotonic()
        for number in range(1, int((seconds + WARM_UP_S) * rate_hz)):  # the first seconds warm up
            asker.spin(began + number / rate_hz - time.monotonic())
            message = with_stamp(serialised, number)
            sent[number] = time.perf_counter()
            asked.publishers[0].publish(message)
    first_s = min(sent.values()) + WARM_UP_S
    came = {stamp: at for stamp, at in asked.answers.items() if at >= first_s}
    latencies = [at - sent[stamp] for stamp, at in came.items()]
    median, p95 = 1e3 * np.percentile(latencies, (50, 95)) if latencies else (np.nan, np.nan)
    rate = masks_rate(sorted(came.values()))
    return {
        "size": size,
        "backend": backend,
        "images/s": rate_hz,
        "masks/s": rate,
        "median ms": float(median),
        "p95 ms": float(p95),
    }


def masks_rate(times_s: Sequence[float]) -> float:
    """Masks a second between the first and the last."""
    return (len(times_s) - 1) / (times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0


def image_message(size: str, transport: str) -> Any:
    """A drawn street as bgr8 or JPEG; its frame_id is HEIGHTxWIDTH."""
    width, height = map(int, size.split("x"))
    street = DemoSequence(1, image_size=(360, 640)).frame(0).image
    pixels = cv2.resize(street[..., ::-1], (width, height), interpolation=cv2.INTER_CUBIC)
    if transport == "compressed":
        message = CompressedImage(format="jpeg", data=array.array("B", cv2.imencode(".jpg", pixels)[1].tobytes()))
    else:
        message = Image(encoding="bgr8", height=height, width=width, step=3 * width, data=array.array("B", pixels.tobytes()))
    message.header.frame_id = f"{height}x{width}"
    return message


def with_stamp(serialised: bytearray, stamp_ns: int) -> bytes:
    """The serialised message with that stamp, of less than a second."""
    serialised[STAMP] = bytes(4) + stamp_ns.to_bytes(4, "little")
    return bytes(serialised)


if __name__ == "__main__":
    main()
