# SPDX-License-Identifier: Apache-2.0
"""Any labelled images in simulated weather."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.labelled_images import LabelledImage, LabelledImages
from vltseg_core.data.weather import simulate_weather


class WeatheredImages:
    """The same frames in one condition and severity (see `simulate_weather`); a frame's weather depends on its index alone."""

    def __init__(self, images: LabelledImages, condition: str, severity: int, seed: int = 0) -> None:
        self._images, self._condition, self._severity, self._seed = images, condition, severity, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> LabelledImage:
        labelled = self._images[index]
        rng = np.random.default_rng((self._seed, index))
        weathered = simulate_weather(labelled.image, self._condition, severity=self._severity, rng=rng, depth_m=labelled.depth_m)
        return labelled._replace(image=weathered)
