# SPDX-License-Identifier: Apache-2.0
"""Each kind of warning is said in its turn."""

from __future__ import annotations

from vltseg_ros.throttled_log import ThrottledLog


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_kind_is_said_once_a_period_and_counts_what_it_left_out() -> None:
    lines: list[str] = []
    clock = Clock()
    log = ThrottledLog(lines.append, 5.0, clock=clock)
    for number in range(4):
        log.warn("size", f"frame {number} has no pixels")
    clock.now_s = 4.9
    log.warn("size", "frame 5 has no pixels")
    clock.now_s = 5.0
    log.warn("size", "frame 6 has no pixels")
    assert lines == ["frame 0 has no pixels", "frame 6 has no pixels (and 4 more like it)"]


def test_one_kind_does_not_hide_another() -> None:
    lines: list[str] = []
    log = ThrottledLog(lines.append, 5.0, clock=Clock())
    log.warn("size", "a")
    log.warn("step", "b")
    assert lines == ["a", "b"]


def test_any_number_of_kinds_takes_little_memory() -> None:
    log = ThrottledLog(lambda line: None, 5.0, clock=Clock())
    for number in range(10_000):
        log.warn(str(number), "x")
    assert len(log._said_s) <= 256
