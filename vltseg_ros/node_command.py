# SPDX-License-Identifier: Apache-2.0
"""The executable `segmentation_node`: says what to install where ROS 2 is missing, else runs the node."""

from __future__ import annotations

import sys

from vltseg_core.errors import VltsegError
from vltseg_ros import (
    ending_signals,
    parent_process,  # noqa: F401  # notes its parent as it is imported
)
from vltseg_ros.ros_installation import require_ros


def main() -> int:
    """Run the node; its exit code, or 1 without ROS 2."""
    ending_signals.end_at_once()
    try:
        require_ros()
    except VltsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from vltseg_ros import segmentation_node

    return segmentation_node.main()


if __name__ == "__main__":
    sys.exit(main())
