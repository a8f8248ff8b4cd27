# SPDX-License-Identifier: Apache-2.0
"""VLTSeg: vision-language pre-training for semantic segmentation that holds under domain shift. No ROS in here."""

__version__ = "0.1.0"
