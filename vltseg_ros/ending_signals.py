# SPDX-License-Identifier: Apache-2.0
"""What SIGINT and SIGTERM do in the node's process, from its first line to its last: exit code 0, once.

For the main thread alone, as Python has it.
"""

from __future__ import annotations

import os
import signal
import threading

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """While nothing has begun: PyTorch and rclpy take seconds to import, and an import may swallow an exception."""
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


def leave_to_rclpy() -> threading.Event:
    """rclpy hears the first signal; a second one must not break off what the first has begun.

    To be called before rclpy's own handlers are there, which call those that were there before, and put them back in the end.
    The event says that a signal came, perhaps before rclpy heard any.
    """
    came = threading.Event()
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda *_: came.set())
    return came


def ignore() -> None:
    """When all is done, up to the interpreter's very end."""
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
