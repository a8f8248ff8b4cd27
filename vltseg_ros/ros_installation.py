# SPDX-License-Identifier: Apache-2.0
"""Says what to do where ROS 2 is missing, before anything imports it."""

from __future__ import annotations

from vltseg_core.errors import ConfigurationError


def require_ros() -> None:
    """Raise ConfigurationError where rclpy cannot be imported."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"ROS 2 is missing ({error}): source a ROS 2 installation, or install its wheels with pip install 'vltseg_ros[ros]'"
        ) from error
