# SPDX-License-Identifier: Apache-2.0
"""Losses, optimiser schedule, and the Lightning modules that train and validate a network."""
