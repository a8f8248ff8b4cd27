# SPDX-License-Identifier: Apache-2.0
"""Percentiles are over answers, deadlines over all frames."""

from __future__ import annotations

import math

import pytest

from vltseg_core.evaluation.latency import count_late, deadline_shares, summarise

NAN = float("nan")


def test_percentiles_are_of_the_answered_frames():
    summary = summarise([*range(1, 102), NAN, NAN])
    assert summary == (51.0, 96.0, 100.0)


def test_nothing_answered_is_not_known():
    assert all(math.isnan(value) for value in summarise([NAN]))
    assert all(math.isnan(share) for share in deadline_shares([]).values())


def test_a_dropped_frame_misses_every_deadline():
    assert deadline_shares([20.0, 33.0, 50.1, NAN]) == {33.0: 0.5, 50.0: 0.5, 100.0: 0.75}


@pytest.mark.parametrize(("latency_ms", "late"), [(99.0, 0), (100.0, 0), (100.1, 1), (NAN, 0)])
def test_late_is_answered_after_the_next_frame_came(latency_ms, late):
    assert count_late([latency_ms, 1.0], [100.0, 100.0]) == late
