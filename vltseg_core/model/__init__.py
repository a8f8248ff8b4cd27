# SPDX-License-Identifier: Apache-2.0
"""The network, one file a part."""
