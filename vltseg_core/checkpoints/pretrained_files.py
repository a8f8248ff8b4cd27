# SPDX-License-Identifier: Apache-2.0
"""Pre-trained CLIP and DeiT-3 weights from the Hugging Face hub, as they lie in the cache folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from vltseg_core.checkpoints.cache import accept_licence, cache_folder, licence_accepted
from vltseg_core.checkpoints.download import Progress, download
from vltseg_core.checkpoints.exclusive import exclusively
from vltseg_core.checkpoints.receive import Pause, with_way_out
from vltseg_core.checkpoints.remote_files import hub_file
from vltseg_core.config import PRESETS
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.model.image_encoder import HubFile, pretrained_file

HUB_URL = "https://huggingface.co"
FREE_LICENCES = ("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause")
"""Licences, as the hub names them, that allow any use."""

_DEFAULT_TAGS = {
    "EVA02-L-14": "merged2b_s4b_b131k",
    "EVA02-L-14-336": "merged2b_s6b_b61k",
    "EVA02-B-16": "merged2b_s8b_b131k",
    "ViT-L-14-quickgelu": "openai",
    "ViT-B-16-quickgelu": "openai",
    "MobileCLIP2-S0": "dfndr2b",
    "deit3_large_patch16_224": "fb_in22k_ft_in1k",
    "deit3_base_patch16_224": "fb_in22k_ft_in1k",
}


class PretrainedWeights(NamedTuple):
    """An architecture's weights by tag."""

    model: str
    tag: str


def hub_url() -> str:
    """The hub to fetch from: VLTSEG_HUB_URL, else the Hugging Face hub."""
    return (os.environ.get("VLTSEG_HUB_URL") or HUB_URL).rstrip("/")


def pretrained_weights(name: str) -> PretrainedWeights | None:
    """What a name means: a preset (its usual weights), or MODEL/TAG; None where it is neither."""
    model, separator, tag = name.partition("/")
    if separator:
        return PretrainedWeights(model, tag)
    if name in PRESETS and (model := PRESETS[name].image_encoder.model) in _DEFAULT_TAGS:
        return PretrainedWeights(model, _DEFAULT_TAGS[model])
    return None


def pretrained_path(model: str, tag: str, folder: Path | None = None) -> Path:
    """The fetched file; CheckpointError with the command that fetches it where it is not there.

    Raises ConfigurationError with the tags that there are where `tag` is none of them.
    """
    hub = pretrained_file(model, tag)
    path = _cached(hub, folder or cache_folder())
    if not path.is_file():
        raise CheckpointError(
            f"weights '{tag}' of '{model}' are not here yet: run 'vltseg fetch {model}/{tag}', or put {hub.file_name} of "
            f"{HUB_URL}/{hub.repository} at '{path}'"
        )
    return path


def fetch_pretrained(
    weights: PretrainedWeights,
    folder: Path,
    on_progress: Progress,
    *,
    accept_license: bool = False,
    hub_url: str = HUB_URL,
    pause: Pause = time.sleep,
) -> tuple[Path, str]:
    """Download the weights unless they are there already; gives the file and its licence as the hub names it.

    A licence that restricts the use is asked for once, by `accept_license`.

    Raises ConfigurationError for an unknown tag or a licence that needs accepting, CheckpointError where the file cannot
    be had: it then says which file to put where.
    """
    hub = pretrained_file(*weights)
    path = _cached(hub, folder)
    if path.is_file():
        return path, "as shown when it was fetched"
    with exclusively(path):
        try:
            remote, licence = hub_file(hub_url, hub.repository, hub.file_name, pause=pause)
            if accept_license:
                accept_licence(folder, licence)
            if licence not in FREE_LICENCES and not licence_accepted(folder, licence):
                raise ConfigurationError(
                    f"'{weights.model}/{weights.tag}' is licensed '{licence}' ({HUB_URL}/{hub.repository}): read it there and "
                    "run again with --accept-license if you agree"
                )
            download(remote, path, on_progress, pause=pause)
        except CheckpointError as error:
            raise with_way_out(error, f"put {hub.file_name} of {HUB_URL}/{hub.repository} at '{path}'") from error
    return path, licence


def _cached(hub: HubFile, folder: Path) -> Path:
    return folder / f"{hub.repository.replace('/', '--')}--{hub.file_name}"
