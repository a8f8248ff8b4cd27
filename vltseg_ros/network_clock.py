# SPDX-License-Identifier: Apache-2.0
"""Tells since when a thread is inside the network, so that nothing else that takes long is taken for a hang of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class NetworkClock:
    """Runs while one thread is inside the network; any other may read it."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """The calling thread is inside, up to the end of the block."""
        self._since_s = time.monotonic()
        try:
            yield
        finally:
            self._since_s = None

    @property
    def busy_s(self) -> float:
        """Seconds that the thread has been inside, 0 while it is not."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s
