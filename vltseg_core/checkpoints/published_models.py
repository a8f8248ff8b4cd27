# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of the public re-implementation of VLTSeg (Zenodo record 14766160), by name."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from vltseg_core.errors import ConfigurationError

RECORD_URL = "https://zenodo.org/api/records/14766160"
LICENCE = "CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): not for commercial use, name the authors"


class PublishedModel(NamedTuple):
    """A published checkpoint. trained_on: data set and iterations."""

    name: str
    trained_on: str

    @property
    def file_name(self) -> str:
        """Its file in the record."""
        return f"vltseg_checkpoint_{self.name}.pth"


PUBLISHED_MODELS: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        PublishedModel("gta_1", "GTA5, 5,000 iterations"),
        PublishedModel("gta_2", "GTA5, 1,000 iterations with a frozen encoder, then 5,000"),
        PublishedModel("synthia_1", "SYNTHIA, 5,000 iterations"),
        PublishedModel("synthia_2", "SYNTHIA, 1,000 iterations with a frozen encoder, then 5,000"),
        PublishedModel("acdc_1", "ACDC, 20,000 iterations"),
        PublishedModel("bdd100k_1", "BDD100K, 20,000 iterations"),
        PublishedModel("cityscapes_1", "Cityscapes, 20,000 iterations"),
        PublishedModel("cityscapes_2", "Cityscapes, 1,000 iterations with a frozen encoder, then 20,000"),
        PublishedModel("mapillary_1", "Mapillary Vistas, 20,000 iterations"),
        PublishedModel("mapillary+cityscapes_1", "Mapillary Vistas and Cityscapes, 20,000 and 40,000 iterations"),
        PublishedModel("mapillary+cityscapes_2", "Mapillary Vistas and Cityscapes, 1,000, 20,000 and 40,000 iterations"),
    )
}


def published_model(name: str) -> PublishedModel:
    """The published checkpoint of that name; ConfigurationError names the nearest where there is none."""
    if name not in PUBLISHED_MODELS:
        nearest = difflib.get_close_matches(name, PUBLISHED_MODELS, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"choose one of {', '.join(PUBLISHED_MODELS)}"
        raise ConfigurationError(f"unknown published checkpoint '{name}': {hint}")
    return PUBLISHED_MODELS[name]


def trained_on(file_name: str) -> str:
    """What a published file was trained on, by its name; "unknown" for another file."""
    for model in PUBLISHED_MODELS.values():
        if model.file_name == file_name:
            return f"{model.trained_on}; {LICENCE}"
    return "unknown"
