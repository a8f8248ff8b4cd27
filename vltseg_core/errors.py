# SPDX-License-Identifier: Apache-2.0
"""What this package raises: one small tree, each message saying the value, what was expected and what to do next."""

from __future__ import annotations

import reprlib


class VltsegError(Exception):
    """Base of every error that a user of this package can cause and mend."""


class ConfigurationError(VltsegError):
    """A setting, preset name or recipe that cannot be used."""


class CheckpointError(VltsegError):
    """A weights file that is missing, damaged, or made for another network."""


class InputError(VltsegError):
    """An image, label file, bag or folder that cannot be read or used."""


class DeviceError(VltsegError):
    """A compute device, precision or backend that this machine does not offer."""


class DeviceMemoryError(DeviceError):
    """A device whose memory ran out: fewer or smaller images at once may still fit."""


class DeviceLostError(DeviceError):
    """A device that went away or whose context is broken: what was loaded on it is of no use any more."""


class NonFiniteScoresError(DeviceError):
    """Scores that are no finite numbers: no label can be made of them."""


def quotable(value: object, length: int = 120) -> str:
    """Something a stranger wrote, for a sentence about it: on one printable line of at most that many letters."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:length])
    return line + "..." * (len(text) > length)
