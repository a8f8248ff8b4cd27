# SPDX-License-Identifier: Apache-2.0
"""Says what to do where ROS 2 is missing, before anything imports it, or where it does not start."""

from __future__ import annotations

import os
import pwd
import re
from contextlib import suppress
from typing import Any

from vltseg_core.errors import ConfigurationError

_LOG_FAILURE = re.compile("log(ging)? directory|Failed opening file")


def require_ros() -> None:
    """Raise ConfigurationError where rclpy cannot be imported."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"ROS 2 is missing ({error}): source a ROS 2 installation, or install its wheels with pip install 'vltseg_ros[ros]'"
        ) from error


def start_ros(**options: Any) -> None:
    """`rclpy.init` with these options; ConfigurationError, one sentence, where ROS 2 refuses its arguments or environment.

    Without HOME, as a system service starts, logs go where the user's home is.
    """
    import rclpy

    if not os.environ.get("HOME"):
        with suppress(KeyError):  # a user without an entry
            os.environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    try:
        rclpy.init(**options)
    except (RuntimeError, UnicodeError) as error:  # RCLError and UnknownROSArgsError, which rclpy keeps to itself
        reason = " ".join(re.sub(r",? at \S+\.(c|cpp|h|hpp):\d+", "", str(error)).split())
        if type(error).__name__ == "UnknownROSArgsError":
            reason = f"unknown arguments {reason}"
        if _LOG_FAILURE.search(reason):
            rclpy.try_shutdown(context=options.get("context"))  # which is there already
            reason += "; set ROS_LOG_DIR to a folder that can be written"
        raise ConfigurationError(f"ROS 2 could not start: {reason}") from error
