# SPDX-License-Identifier: Apache-2.0
"""Reading ahead changes nothing but the time."""

from __future__ import annotations

import threading

import pytest

from vltseg_core.prefetch import prefetched


def test_items_come_in_order():
    assert list(prefetched(range(100), depth=3)) == list(range(100))
    assert list(prefetched([])) == []
    assert list(prefetched([None, False])) == [None, False]


def test_an_error_is_raised_in_its_place():
    def items():
        yield 1
        raise ValueError("the third frame is damaged")

    received = []
    with pytest.raises(ValueError, match="third frame"):
        for item in prefetched(items()):
            received.append(item)
    assert received == [1]


def test_it_reads_ahead_but_not_further_than_its_depth():
    made = []
    waiting = threading.Event()

    def items():
        for index in range(50):
            made.append(index)
            if index == 4:
                waiting.set()
            yield index

    ahead = prefetched(items(), depth=3)
    assert next(ahead) == 0
    assert waiting.wait(5)  # 0 was taken, three lie ready, one is in hand
    assert made == [0, 1, 2, 3, 4]
    ahead.close()


def test_closing_ends_the_thread():
    before = threading.active_count()
    ahead = prefetched(iter(int, 1), depth=2)
    next(ahead)
    assert threading.active_count() == before + 1
    ahead.close()
    assert threading.active_count() == before
