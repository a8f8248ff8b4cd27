# SPDX-License-Identifier: Apache-2.0
"""Weights on disk: the package's own format, and the class embeddings that come with it."""
