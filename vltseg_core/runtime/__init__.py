# SPDX-License-Identifier: Apache-2.0
"""What runs on a vehicle: the `Segmenter` facade."""

from vltseg_core.runtime.augmentation import InferenceAugmentation
from vltseg_core.runtime.backends import BackendSettings
from vltseg_core.runtime.image_transfer import UploadedImage
from vltseg_core.runtime.segmentation import Segmentation, SegmenterDescription
from vltseg_core.runtime.segmenter import Segmenter

__all__ = ["BackendSettings", "InferenceAugmentation", "Segmentation", "Segmenter", "SegmenterDescription", "UploadedImage"]
