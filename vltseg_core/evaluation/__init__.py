# SPDX-License-Identifier: Apache-2.0
"""How good a segmentation is, and how that is shown: confusion matrix, overlays, video, report."""
