# SPDX-License-Identifier: Apache-2.0
"""What every test may count on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A shell starts its background jobs deaf to SIGINT, and children inherit it: tests that interrupt could not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
