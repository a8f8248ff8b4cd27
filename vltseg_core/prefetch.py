# SPDX-License-Identifier: Apache-2.0
"""Reads ahead of whoever uses the frames, so that decoding one never delays the work on the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def prefetched(items: Iterable[Item], depth: int = 8) -> Generator[Item, None, None]:
    """The same items in the same order, up to `depth` of them made ahead in a thread of their own.

    An exception of `items` is raised here in its place. Closing this generator ends the thread.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # handed over, not swallowed: raised where the items are used
            put(_Failure(error))
            return
        put(_END)

    thread = threading.Thread(target=read, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]  # neither _END nor a failure: an item
    finally:
        stopped.set()
        thread.join()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error
