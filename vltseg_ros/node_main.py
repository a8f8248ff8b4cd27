# SPDX-License-Identifier: Apache-2.0
"""The segmentation node's process: from its start to its exit code."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from vltseg_core.errors import ConfigurationError
from vltseg_ros import ending_signals
from vltseg_ros.parent_process import end_with_parent
from vltseg_ros.ros_installation import start_ros

if TYPE_CHECKING:
    from vltseg_ros.segmentation_node import SegmentationNode

FAILED = 1
_MOST_FAILURES_IN_A_ROW = 1000
_TRANSITION_PATIENCE_S = 10.0
_CLOSE_PATIENCE_S = 40.0
"""Over what the node's own `close` waits for."""
_POLL_S = 0.2
_THREADS = "vltseg-"
"""How the names of all threads begin that use the device."""


def run_node(build: Callable[[], SegmentationNode], arguments: list[str] | None = None) -> int:
    """Run the node until a signal or its end.

    Gives 0 after SIGINT or SIGTERM; 1 if ROS 2 does not start, if autostart fails, or if a node that started itself gave its
    network up: whoever restarts it (a launch file with respawn, systemd) then gets a fresh process, which a lost GPU needs.
    A node without autostart stays, unconfigured, for its lifecycle manager. A signal ends it within 10 s even if its network
    hangs in configure or activate.
    """
    signal_came = ending_signals.leave_to_rclpy()
    try:
        start_ros(args=arguments)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    if signal_came.is_set():
        rclpy.try_shutdown()
        return 0
    closing, ended = threading.Event(), threading.Event()
    threading.Thread(target=_leave_after_signal, args=(closing, ended), name="signal-watch", daemon=True).start()
    try:
        code = _run(build, closing)
    except (KeyboardInterrupt, ExternalShutdownException):
        code = 0
    except Exception:
        if rclpy.ok():
            raise
        code = 0  # a signal took the context away in the middle of a callback
    finally:
        rclpy.try_shutdown()
        closing.set()
        ended.set()
        ending_signals.ignore()
    _leave_if_stuck(code)
    return code


def _run(build: Callable[[], SegmentationNode], closing: threading.Event) -> int:
    try:
        node = build()
    except ParameterException as error:
        print(f"error: a parameter cannot be what it was set to: {error}", file=sys.stderr)
        return FAILED
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter("stop_with_parent").value:
            end_with_parent()
        if not node.get_parameter("autostart").value:
            _spin(executor, node, lambda: False)
            return 0
        for transition in (node.trigger_configure, node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                return FAILED if rclpy.ok() else 0  # a signal may have ended it half-way
        _spin(executor, node, node.has_failed.done)
        return FAILED if node.has_failed.done() else 0
    finally:
        closing.set()
        node.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()


def _spin(executor: SingleThreadedExecutor, node: SegmentationNode, is_over: Callable[[], bool]) -> None:
    """Serve until the context is shut down, or it is over. What one message or request brings down is said and survived:
    rclpy raises on a parameter of a type that there is not, on a clock below zero, on an image that memory is too short for."""
    num_failures = 0
    while rclpy.ok() and not is_over():
        try:
            executor.spin_once()
            num_failures = 0
        except ExternalShutdownException:
            raise
        except Exception as error:
            num_failures += 1
            if not rclpy.ok() or num_failures > _MOST_FAILURES_IN_A_ROW:
                raise
            node.survive(error)


def _leave_if_stuck(code: int) -> None:
    """End at once where a thread hangs in the network: the interpreter's own end might wait for it, or crash on it."""
    if any(thread.name.startswith(_THREADS) for thread in threading.enumerate()):
        _leave(code)


def _leave_after_signal(closing: threading.Event, ended: threading.Event) -> None:
    """End a process whose main thread does not: it hangs in a transition, or in what frees the device."""
    while rclpy.ok():
        if ended.wait(_POLL_S):
            return
    if not closing.wait(_TRANSITION_PATIENCE_S) or not ended.wait(_CLOSE_PATIENCE_S):
        print("vltseg: a signal came and the network hangs: it is left to itself", file=sys.stderr)
        _leave(0)


def _leave(code: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
