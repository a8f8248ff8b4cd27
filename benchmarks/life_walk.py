# SPDX-License-Identifier: Apache-2.0
"""A random walk over the node's lifecycle and parameters while frames flow, and what is left of it in the process.

    python benchmarks/life_walk.py [--transitions 1000] [--seed 0] [--rate-hz 30] [--json FILE]

The node is the installed one with the weights that come with the package, in its own process; every step goes over its
services. Steps are valid transitions, transitions that the state does not allow (refused, the state stays), parameters that
may change while configured and such that may not. Whenever the walk is at "unconfigured", threads, open files, memory and
subscriptions are counted. Exit code 1 where a step did what it should not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from vltseg_core.evaluation.machine import describe_machine
from vltseg_ros.dds_environment import isolated_dds

NODE = (sys.executable, "-m", "vltseg_ros.node_command")
UNCONFIGURED, INACTIVE, ACTIVE = "unconfigured", "inactive", "active"
TRANSITIONS = {
    "configure": (Transition.TRANSITION_CONFIGURE, {UNCONFIGURED: INACTIVE}),
    "activate": (Transition.TRANSITION_ACTIVATE, {INACTIVE: ACTIVE}),
    "deactivate": (Transition.TRANSITION_DEACTIVATE, {ACTIVE: INACTIVE}),
    "cleanup": (Transition.TRANSITION_CLEANUP, {INACTIVE: UNCONFIGURED}),
}
LIVE = {"min_confidence": (0.0, 0.9), "overlay_opacity": (0.0, 1.0), "inference_timeout_s": (20.0, 40.0)}
HEIGHT, WIDTH = 48, 64
_PATIENCE_S = 60.0


class Left(NamedTuple):
    """What the process holds at "unconfigured"."""

    step: int
    threads: int
    open_files: int
    memory_mb: float
    subscriptions: int


@dataclass
class Walk:
    """What happened."""

    steps: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    masks: int = 0
    wrong_masks: int = 0
    seconds: float = 0.0
    exit_code: int | None = None


class Company:
    """The program around the node: a camera, a listener to masks, and a lifecycle manager. Spins in a thread of its own."""

    def __init__(self, rate_hz: float) -> None:
        rclpy.init(args=[])
        self.node = Node("company")
        self._sent = 0
        self.masks: list[int] = []
        self.num_wrong_masks = 0
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = self.node.create_publisher(Image, "/image", best_effort)
        self.node.create_subscription(Image, "/semantic/labels", self._receive, 10)
        self.node.create_timer(1 / rate_hz, self._send, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._change = self.node.create_client(ChangeState, "/vltseg/change_state")
        self._get = self.node.create_client(GetState, "/vltseg/get_state")
        self._set = self.node.create_client(SetParameters, "/vltseg/set_parameters")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _send(self) -> None:
        self._sent += 1
        message = Image(encoding="rgb8", height=HEIGHT, width=WIDTH, step=3 * WIDTH)
        message.data = np.full(HEIGHT * WIDTH * 3, self._sent % 19, np.uint8).tobytes()
        message.header.stamp.sec = self._sent
        self._publisher.publish(message)

    def _receive(self, mask: Image) -> None:
        number = mask.header.stamp.sec
        fits = (mask.height, mask.width, len(mask.data)) == (HEIGHT, WIDTH, HEIGHT * WIDTH)
        self.num_wrong_masks += not (fits and 0 < number <= self._sent and number not in self.masks[-100:])
        self.masks.append(number)

    def wait_for_services(self) -> None:
        """Wait for the node."""
        for client in (self._change, self._get, self._set):
            assert client.wait_for_service(_PATIENCE_S), client.srv_name
        time.sleep(0.5)  # the server may not know yet where its answers go

    def transition(self, number: int) -> bool:
        """Whether it worked."""
        request = ChangeState.Request()
        request.transition.id = number
        return bool(self._call(self._change, request).success)

    def state(self) -> str:
        """What the node says."""
        return str(self._call(self._get, GetState.Request()).current_state.label)

    def set_parameter(self, name: str, value: object) -> bool:
        """Whether it was taken."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return bool(self._call(self._set, request).results[0].successful)

    def num_subscriptions(self) -> int:
        """Subscriptions of the node to images."""
        names = self.node.get_subscriber_names_and_types_by_node("vltseg", "/")
        return sum("sensor_msgs/msg/Image" in types for _, types in names)

    def waits_for_a_mask(self, timeout_s: float) -> bool:
        """Whether a mask comes that was not there before."""
        before, end = len(self.masks), time.monotonic() + timeout_s
        while len(self.masks) == before and time.monotonic() < end:
            time.sleep(0.01)
        return len(self.masks) > before

    def _call(self, client: Any, request: Any) -> Any:
        future, end = client.call_async(request), time.monotonic() + _PATIENCE_S
        while not future.done():
            assert time.monotonic() < end, f"no answer from {client.srv_name}"
            time.sleep(0.001)
        return future.result()

    def close(self) -> None:
        """End it."""
        self._executor.shutdown(5)  # before what its callbacks use goes with the context
        rclpy.try_shutdown()
        self._thread.join(5)


def walk(process: subprocess.Popen[bytes], company: Company, *, num_steps: int, seed: int) -> Walk:
    """Walk that many steps from "unconfigured" and back, then shut down."""
    choose = random.Random(seed)
    seen, state, start = Walk(), UNCONFIGURED, time.monotonic()
    of_process = psutil.Process(process.pid)
    company.wait_for_services()
    for step in range(num_steps):
        kind = choose.choices(("valid", "refused", "live", "fixed"), (70, 10, 12, 8))[0]
        if kind in ("valid", "refused"):
            names = [n for n, (_, ways) in TRANSITIONS.items() if (state in ways) == (kind == "valid")]
            state = _step(company, seen, choose.choice(names), state)
        elif kind == "live":
            name = choose.choice(list(LIVE))
            _set(company, seen, name, choose.uniform(*LIVE[name]), expected=True)
        else:
            _set(company, seen, "max_batch_size", choose.randint(1, 8), expected=state == UNCONFIGURED)
        if state == ACTIVE:
            time.sleep(choose.uniform(0, 0.2))
        if state == ACTIVE and choose.random() < 0.3:
            _note(seen, company.waits_for_a_mask(10), f"step {step}: no mask though active")
        if state == UNCONFIGURED:
            seen.left.append(
                Left(
                    step,
                    of_process.num_threads(),
                    of_process.num_fds(),
                    round(of_process.memory_info().rss / 1e6, 1),
                    company.num_subscriptions(),
                )
            )
        _note(seen, process.poll() is None, f"step {step}: the process ended")
        if process.poll() is not None:
            break
    seen.seconds = round(time.monotonic() - start, 1)
    seen.masks, seen.wrong_masks = len(company.masks), company.num_wrong_masks
    return seen


def _step(company: Company, seen: Walk, name: str, state: str) -> str:
    number, ways = TRANSITIONS[name]
    is_valid = state in ways
    worked = company.transition(number)
    state = ways.get(state, state)
    said = company.state()
    _note(seen, worked == is_valid and said == state, f"{name}: success {worked}, state {said}, expected {is_valid}, {state}")
    _count(seen, name, is_valid)
    return state


def _set(company: Company, seen: Walk, name: str, value: object, *, expected: bool) -> None:
    taken = company.set_parameter(name, value)
    _note(seen, taken == expected, f"set {name} to {value}: {taken}, expected {expected}")
    _count(seen, f"set {name}", expected)


def _count(seen: Walk, name: str, was_taken: bool) -> None:
    name += "" if was_taken else ", refused"
    seen.steps[name] = seen.steps.get(name, 0) + 1


def _note(seen: Walk, is_right: bool, sentence: str) -> None:
    if not is_right:
        seen.wrong.append(sentence)


def run(command: Sequence[str], *, num_steps: int, seed: int, rate_hz: float, log: Path) -> Walk:
    """Start the node, walk, and end it by SIGINT."""
    with isolated_dds(), log.open("wb") as output:
        arguments = ["--ros-args", "-p", "autostart:=false", "-p", "diagnostics_period_s:=0.2"]
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=subprocess.STDOUT, env={**os.environ})
        company = Company(rate_hz)
        try:
            seen = walk(process, company, num_steps=num_steps, seed=seed)
            process.send_signal(2)
            seen.exit_code = process.wait(30)
            _note(seen, seen.exit_code == 0, f"exit code {seen.exit_code}")
            return seen
        finally:
            company.close()
            if process.poll() is None:
                process.kill()
                process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1000, help="steps of the walk")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices")
    parser.add_argument("--rate-hz", type=float, default=30.0, help="frames a second")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="file for what the node prints")
    parser.add_argument("--json", type=Path, help="file for the result")
    arguments = parser.parse_args()
    seen = run(NODE, num_steps=arguments.transitions, seed=arguments.seed, rate_hz=arguments.rate_hz, log=arguments.log)
    result = {"machine": dict(describe_machine()), "date": str(date.today()), "seed": arguments.seed, **asdict(seen)}
    result["left"] = [place._asdict() for place in seen.left]
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, number in sorted(seen.steps.items()):
        print(f"{number:5d}  {name}")
    print(f"{seen.masks} masks, {seen.wrong_masks} wrong; {seen.seconds} s; exit code {seen.exit_code}")
    for place in (seen.left[len(seen.left) // 10], seen.left[-1]):
        print(f"at step {place.step}, unconfigured: {', '.join(f'{v} {k}' for k, v in place._asdict().items() if k != 'step')}")
    print("\n".join(seen.wrong) or "nothing wrong")
    return 1 if seen.wrong or seen.wrong_masks else 0


if __name__ == "__main__":
    sys.exit(main())
