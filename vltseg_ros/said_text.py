# SPDX-License-Identifier: Apache-2.0
"""Texts of strangers, as a log or a message can hold them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

_MOST_LETTERS = 80
_MOST_TEXTS = 20


def said(text: str) -> str:
    """A text from a message for people: on one line, no control characters, its end left out where it is long."""
    plain = printable(text[: _MOST_LETTERS + 1])
    return plain if len(plain) <= _MOST_LETTERS else f"{plain[:_MOST_LETTERS]}..."


def all_said(texts: Iterable[str]) -> str:
    """The texts with commas between; of many the first and how many more there are."""
    listed = list(texts)
    more = f" and {len(listed) - _MOST_TEXTS} more" if len(listed) > _MOST_TEXTS else ""
    return ", ".join(map(said, listed[:_MOST_TEXTS])) + more


def short_name(text: str) -> str:
    """A text that something is called by: as it is, or where people cannot be shown that, said and told apart by a number."""
    plain = said(text)
    return plain if plain == text else f"{plain} {sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def printable(text: str) -> str:
    """The text with a ? for each letter that a terminal obeys and does not show, the end of a line among them."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def frame_name(header: Any) -> str:
    """A frame in a log, from its std_msgs/Header: its stamp in seconds and its frame id."""
    return f"frame {header.stamp.sec}.{header.stamp.nanosec:09d} of '{said(header.frame_id)}'"
