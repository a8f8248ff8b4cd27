# SPDX-License-Identifier: Apache-2.0
"""Data sets, transforms, weather simulation and drawn demo scenes."""
