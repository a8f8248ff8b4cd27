# SPDX-License-Identifier: Apache-2.0
"""Texts of strangers, as a log or a message can hold them."""

from __future__ import annotations

from typing import Any

_MOST_LETTERS = 80


def said(text: str) -> str:
    """A text from a message for people: on one line, no control characters, its end left out where it is long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[: _MOST_LETTERS + 1])
    return plain if len(plain) <= _MOST_LETTERS else f"{plain[:_MOST_LETTERS]}..."


def frame_name(header: Any) -> str:
    """A frame in a log, from its std_msgs/Header: its stamp in seconds and its frame id."""
    return f"frame {header.stamp.sec}.{header.stamp.nanosec:09d} of '{said(header.frame_id)}'"
