# SPDX-License-Identifier: Apache-2.0
"""Frame times follow the numbers in file names, pauses are shortened, and time never goes back."""

from __future__ import annotations

import pytest

from vltseg_ros.frame_times import NAMINGS, FramePlace, place_of, times_s


@pytest.mark.parametrize(
    ("data_set", "stem", "place"),
    [
        ("camvid", "0016E5_08035", FramePlace("0016E5", 8035)),
        ("camvid", "0006R0_f00930", FramePlace("0006R0", 930)),
        ("cityscapes", "frankfurt_000001_044227_leftImg8bit", FramePlace("frankfurt_000001", 44227)),
        ("acdc", "GOPR0122_frame_000161_rgb_anon", FramePlace("GOPR0122", 161)),
        ("acdc", "GP010376_frame_000054_rgb_anon", FramePlace("GP010376", 54)),
        ("acdc", "something else", FramePlace()),
        ("kitti", "000008_10", FramePlace()),
    ],
)
def test_names_tell_sequence_and_number(data_set, stem, place):
    assert place_of(stem, NAMINGS.get(data_set)) == place


def test_times_follow_the_numbers_and_pauses_are_shortened():
    places = [FramePlace("a", n) for n in (10, 12, 15, 300)] + [FramePlace("b", 5), FramePlace("b", 8)]
    times = times_s(places, numbers_hz=30.0, rate_hz=10.0, max_gap_s=1.5)
    assert times == pytest.approx([0, 2 / 30, 5 / 30, 5 / 30 + 1.5, 5 / 30 + 3.0, 5 / 30 + 3.1])


def test_frames_without_numbers_and_all_where_asked_are_paced():
    assert times_s([FramePlace()] * 3, numbers_hz=30.0, rate_hz=4.0, max_gap_s=1.0) == [0.0, 0.25, 0.5]
    places = [FramePlace("a", 1), FramePlace("a", 100)]
    assert times_s(places, numbers_hz=None, rate_hz=4.0, max_gap_s=1.0) == [0.0, 0.25]
    assert times_s([], numbers_hz=None, rate_hz=4.0, max_gap_s=1.0) == []


def test_a_number_met_twice_does_not_stop_the_time():
    places = [FramePlace("a", 7), FramePlace("a", 7), FramePlace("a", 3)]
    assert times_s(places, numbers_hz=10.0, rate_hz=1.0, max_gap_s=1.0) == pytest.approx([0.0, 0.1, 0.2])
