# SPDX-License-Identifier: Apache-2.0
"""From the name of a published checkpoint to a weights file in the cache folder."""

from __future__ import annotations

from pathlib import Path

from vltseg_core.checkpoints import native, published
from vltseg_core.checkpoints.cache import licence_accepted
from vltseg_core.checkpoints.download import Progress, download, record_file
from vltseg_core.checkpoints.published_models import LICENCE, RECORD_URL, published_model, trained_on
from vltseg_core.errors import CheckpointError, ConfigurationError


def fetch(name: str, folder: Path, on_progress: Progress, *, record_url: str = RECORD_URL) -> Path:
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
    original = folder / model.file_name
    is_the_user_s = original.is_file()
    if not is_the_user_s:
        try:
            download(record_file(record_url, model.file_name), original, on_progress)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}. Without a connection, put {model.file_name} into '{folder}' and run again"
            ) from error
    native.save(published.convert(original), weights, trained_on=trained_on(model.file_name))
    if not is_the_user_s:
        original.unlink()
    return weights
