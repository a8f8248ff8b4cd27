# SPDX-License-Identifier: Apache-2.0
"""One worker thread with its segmenter: it loads what is to serve, serves it, and frees it when it is retired."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vltseg_core.runtime import Segmenter
from vltseg_ros.frame_answering import Picture
from vltseg_ros.frame_slot import Frame
from vltseg_ros.frame_worker import FrameWorker
from vltseg_ros.network_clock import NetworkClock
from vltseg_ros.recovery import Action, Fault, Remedy
from vltseg_ros.segmenter_loading import free

if TYPE_CHECKING:
    from vltseg_ros.frame_serving import FrameServing

_DISPOSAL_PATIENCE_S = 5.0


class Shift:
    """One worker with its segmenter and its answering; all three go together."""

    def __init__(
        self,
        serving: FrameServing,
        segmenter: Segmenter | None,
        *,
        remedy: Remedy | None = None,
        previous: FrameWorker | None = None,
    ) -> None:
        self._serving, self._remedy, self._previous = serving, remedy, previous
        self.segmenter = segmenter
        self.is_over = self.is_checking = False
        self.network_clock = NetworkClock()
        self._answering = serving.parts.answering(segmenter, self) if segmenter else None
        self.worker = serving.new_worker(self)

    def end(self) -> None:
        """From now on nothing of it is published, counted or heard."""
        self.is_over = True
        if self._answering:
            self._answering.end()

    def prepare(self) -> bool:
        """Load what is to serve, once the worker before is done and has freed what it held, if it can."""
        if self._previous is not None:
            self._previous.join(_DISPOSAL_PATIENCE_S)
        if self._remedy is None:
            return not self.is_over
        try:
            segmenter = self._serving.parts.load_anew(self._remedy)
        except Exception as error:  # whatever the device's libraries raise when they are loaded
            self._serving.handle(self, Fault.LOAD_FAILED, f"{type(error).__name__}: {error}")
            return False
        self.segmenter = segmenter
        self._answering = self._serving.parts.answering(segmenter, self)
        if self.is_over:
            self._answering.end()
            return False
        self._serving.note_ready(self)
        return True

    def picture(self, frame: Frame) -> Picture | None:
        """The frame's picture, None where there is none or no network to upload it for; that is counted."""
        if self._answering is not None:
            return self._answering.prepare(frame)
        self._serving.count_reloading()
        return None

    def serve(self, frames: Sequence[Frame | Picture]) -> None:
        """Answer them."""
        assert self._answering is not None  # it was prepared
        self._answering.serve(frames)

    def dispose(self) -> None:
        """Free the device, as far as it lets itself be freed."""
        segmenter, self.segmenter = self.segmenter, None
        if segmenter is not None:
            free(segmenter, self._serving.parts.say)

    def segmenting(self) -> AbstractContextManager[None]:
        """The worker is inside the network."""
        return self.network_clock.running()

    def uploading(self) -> AbstractContextManager[None]:
        """The thread that makes pictures is."""
        return self._serving.upload_clock.running()

    def note_answer(self) -> None:
        """The network answered."""
        self._serving.policy.note_answer()

    def note_fault(self, fault: Fault, sentence: str) -> None:
        """The network did not answer; where the frames may be at fault it has to answer grey images."""
        if self._serving.handle(self, fault, sentence) is not Action.CHECK:
            return
        assert self.segmenter is not None  # it just failed
        self.is_checking = True
        try:
            with self.segmenting():
                self.segmenter.warm_up()
        except Exception as error:  # whatever the network's libraries raise
            self._serving.handle(self, Fault.CHECK_FAILED, f"{type(error).__name__}: {error}")
        else:
            self._serving.parts.say(f"the network passes its own check, so the frames are at fault: {sentence}")
        finally:
            self.is_checking = False
