# SPDX-License-Identifier: Apache-2.0
"""From the name of a published checkpoint to a weights file in the cache folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from vltseg_core.checkpoints import native, published
from vltseg_core.checkpoints.cache import licence_accepted
from vltseg_core.checkpoints.download import Progress, download
from vltseg_core.checkpoints.exclusive import exclusively
from vltseg_core.checkpoints.published_models import LICENCE, RECORD_URL, published_model, trained_on
from vltseg_core.checkpoints.receive import Pause, with_way_out
from vltseg_core.checkpoints.remote_files import record_file
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.model.vltseg import Vltseg


def record_url() -> str:
    """The record to fetch from: VLTSEG_RECORD_URL, else the published one."""
    return os.environ.get("VLTSEG_RECORD_URL") or RECORD_URL


def fetch(name: str, folder: Path, on_progress: Progress, *, record_url: str = RECORD_URL, pause: Pause = time.sleep) -> Path:
    """The native weights file of a published checkpoint; downloaded and converted unless it is there already.

    A .pth file that somebody put into the folder is taken as well, and left there. Raises ConfigurationError for an unknown name
    or an unaccepted licence, CheckpointError where the file cannot be had: it then says which file to put where.
    """
    model = published_model(name)
    weights = folder / f"{name}.safetensors"
    if weights.is_file():
        return weights
    if not licence_accepted(folder, LICENCE):
        raise ConfigurationError(f"'{name}' is licensed {LICENCE}: run again with --accept-license if you agree")
    with exclusively(weights):
        the_user_s = folder / model.file_name
        if the_user_s.is_file():
            native.save(published.convert(the_user_s), weights, trained_on=trained_on(model.file_name))
            return weights
        downloaded = folder / f".{model.file_name}.download"  # kept until it is converted: a full disk or Ctrl-C costs no bytes
        if not downloaded.is_file():
            try:
                download(record_file(record_url, model.file_name, pause=pause), downloaded, on_progress, pause=pause)
            except CheckpointError as error:
                raise with_way_out(error, f"put {model.file_name} into '{folder}' and run again") from error
        native.save(_converted(downloaded), weights, trained_on=trained_on(model.file_name))
        downloaded.unlink()
    return weights


def _converted(downloaded: Path) -> Vltseg:
    try:
        return published.convert(downloaded)
    except CheckpointError as error:
        downloaded.unlink()
        raise CheckpointError(f"{error}; what was downloaded is deleted") from error
