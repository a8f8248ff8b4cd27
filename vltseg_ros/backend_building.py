# SPDX-License-Identifier: Apache-2.0
"""The backend that is built beside the node's callbacks: minutes of work that no lifecycle transition may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vltseg_core.errors import VltsegError
from vltseg_core.runtime import Segmenter


class BackendBuilding:
    """Builds a segmenter's backend in a thread and knows how far it is.

    on_step, on_end: told of each step, and at the end of failure and shortfall; both on that thread. failure: why there is
    no backend, or None. shortfall: what failed where another took its place, or nothing.
    """

    def __init__(
        self, segmenter: Segmenter, *, on_step: Callable[[str], None], on_end: Callable[[str | None, str], None]
    ) -> None:
        self._segmenter, self._on_step, self._on_end = segmenter, on_step, on_end
        self._started_s = time.monotonic()
        self._step = "starting"
        self.failure: str | None = None
        self.shortfall = ""
        self._thread = threading.Thread(target=self._run, name="vltseg-backend", daemon=True)
        self._is_running = True
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it is still at work."""
        return self._is_running

    @property
    def progress(self) -> str:
        """The step that it is at, and for how long it has been at work."""
        return f"{self._step}, {time.monotonic() - self._started_s:.0f} s so far"

    def wait(self, timeout_s: float) -> bool:
        """Whether it came to an end in that time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.shortfall = self._segmenter.build_backend(self._note)
        except VltsegError as error:
            self.failure = str(error)
        except Exception as error:  # the thread's edge: said and shown, never lost
            self.failure = f"{type(error).__name__}: {error}"
        self._is_running = False
        self._on_end(self.failure, self.shortfall)

    def _note(self, step: str) -> None:
        self._step = step
        self._on_step(step)
