# SPDX-License-Identifier: Apache-2.0
"""Things of one labelled image pasted over another, at the same place.

Source: Olsson et al., "ClassMix", 2021 (half of an image's classes over another image), with true labels as in Ghiasi et al.,
"Simple copy-paste", 2021, and things alone, for a street's ground and sky are in every image.
"""

from __future__ import annotations

import numpy as np

from vltseg_core.data.labelled_images import CODE_MEMBERS, LabelledImage
from vltseg_core.labels import CITYSCAPES

_THINGS = frozenset(
    CITYSCAPES.names.index(name)
    for name in (
        "pole",
        "traffic light",
        "traffic sign",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    )
)
THING_CODES = tuple(code for code, members in enumerate(CODE_MEMBERS) if _THINGS.issuperset(members))
"""The label codes that are things, those of several classes included."""


def paste_things(target: LabelledImage, source: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """The target with half of the source's kinds of things, rounded up, in the places that they had there.

    Both of one size. The target's depth takes the source's where things are pasted; where one of the two has none, so has
    the result.
    """
    kinds = [code for code in np.unique(source.codes) if code in THING_CODES]
    if not kinds:
        return target
    chosen = rng.permutation(kinds)[: (len(kinds) + 1) // 2]
    pasted = np.isin(source.codes, chosen)
    image = np.where(pasted[..., None], source.image, target.image)
    codes = np.where(pasted, source.codes, target.codes)
    if target.depth_m is None or source.depth_m is None:
        return LabelledImage(image, codes)
    return LabelledImage(image, codes, np.where(pasted, source.depth_m, target.depth_m))
