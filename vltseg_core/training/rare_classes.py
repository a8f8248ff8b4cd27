# SPDX-License-Identifier: Apache-2.0
"""Rare class sampling: images are drawn by the classes in them, rare ones more often.

Source: Hoyer et al., "DAFormer", 2022, section 3.3. N images, G label codes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WORTH_DRAWING_PX = 3000


class RareDraw(NamedTuple):
    """An image's number and the label code that it was drawn for."""

    image: int
    code: int


class RareClasses:
    """Draws a code with probability softmax((1 - share) / temperature), then one of the images that show it.

    Args:
        counts: pixels of each code in each image, int64 [N, G]. temperature: the smaller, the more rare codes are favoured.
    """

    def __init__(self, counts: NDArray[np.int64], temperature: float) -> None:
        totals = counts.sum(0)
        self.codes = np.flatnonzero(totals)
        favour = (1 - totals[self.codes] / totals.sum()) / temperature
        odds = np.exp(favour - favour.max())
        self.probabilities = odds / odds.sum()
        self._images = [_showing(counts[:, code]) for code in self.codes]

    def draw(self, rng: np.random.Generator) -> RareDraw:
        """One image and the code that it is to show."""
        place = int(rng.choice(len(self.codes), p=self.probabilities))
        images = self._images[place]
        return RareDraw(int(images[rng.integers(len(images))]), int(self.codes[place]))


def _showing(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images with enough of a code to be worth it, else all that show it."""
    plenty = np.flatnonzero(counts > _WORTH_DRAWING_PX)
    return plenty if len(plenty) else np.flatnonzero(counts)
