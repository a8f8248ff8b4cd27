# SPDX-License-Identifier: Apache-2.0
"""What SIGINT and SIGTERM do in the node's process, from its first line to its last: exit code 0, once.

For the main thread alone, as Python has it.
"""

from __future__ import annotations

import signal
import sys

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """While nothing has begun: PyTorch and rclpy take seconds to import."""
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))


def leave_to_rclpy() -> None:
    """rclpy hears the first signal; a second one must not break off what the first has begun.

    To be called before rclpy's own handlers are there, which call those that were there before, and put them back in the end.
    """
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda *_: None)


def ignore() -> None:
    """When all is done, up to the interpreter's very end."""
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
