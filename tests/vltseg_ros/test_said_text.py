# SPDX-License-Identifier: Apache-2.0
"""Texts of strangers come to people on one line, short, and without what a terminal obeys."""

from __future__ import annotations

from vltseg_ros.said_text import all_said, printable, said, short_name


def test_a_text_is_on_one_line_and_short():
    assert said("rgb8") == "rgb8" and said("a\x1b[2Jb\nc\u202e") == "a?[2Jb?c?"
    assert said("x" * 80) == "x" * 80 and said("x" * 10**6) == "x" * 80 + "..."
    assert printable("ü \x07\r") == "ü ??"


def test_of_many_texts_the_first_are_said_and_how_many_more_there_are():
    assert all_said(["/a", "/b\x1b"]) == "/a, /b?" and all_said([]) == ""
    assert all_said(map(str, range(70_000))).endswith(", 18, 19 and 69980 more")


def test_names_that_are_shortened_stay_apart():
    assert short_name("night, rain") == "night, rain" and short_name("") == ""
    names = {short_name(text) for text in ("n" * 3000, "n" * 3001, "a\x1b", "a\x07", "a?")}
    assert len(names) == 5 and all(len(name) < 100 and name.isprintable() for name in names)
