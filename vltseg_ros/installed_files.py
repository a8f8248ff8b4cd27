# SPDX-License-Identifier: Apache-2.0
"""Finds the package's own launch and configuration files: installed by colcon, by pip, or in the source tree."""

from __future__ import annotations

import sys
from pathlib import Path

from vltseg_core.errors import ConfigurationError

_PACKAGE = "vltseg_ros"


def installed_file(relative: str) -> Path:
    """A file such as "config/fastdds_large_images.xml"; raises ConfigurationError where the installation lacks it.

    Looked for beside the sources, under this installation's prefix, and under the environment's, in this order.
    """
    here = Path(__file__).resolve()
    prefixes = [*here.parents, Path(sys.prefix)]
    roots = [here.parents[1], *(prefix / "share" / _PACKAGE for prefix in prefixes)]
    for root in roots:
        if (root / relative).is_file():
            return root / relative
    raise ConfigurationError(f"'{relative}' is not installed (looked in {roots[0]} and {roots[-1]}): install {_PACKAGE} anew")
