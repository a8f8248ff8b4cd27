# SPDX-License-Identifier: Apache-2.0
"""Where the weights lie that a name means: with the package, in the cache of fetched checkpoints, or in a file."""

from __future__ import annotations

from pathlib import Path

from vltseg_core.checkpoints.cache import cache_folder
from vltseg_core.checkpoints.published_models import PUBLISHED_MODELS
from vltseg_core.config import PRESETS
from vltseg_core.errors import CheckpointError

WEIGHTS_FOLDER = Path(__file__).parent.parent / "weights"


def weights_path(checkpoint_or_preset: str | Path) -> Path:
    """The weights file of a preset or a fetched checkpoint by its name, or the file itself; CheckpointError where none is."""
    name = str(checkpoint_or_preset)
    if Path(name).suffix or "/" in name:
        return Path(name).expanduser()
    bundled = WEIGHTS_FOLDER / f"{name}.safetensors"
    if bundled.is_file():
        return bundled
    fetched = cache_folder() / f"{name}.safetensors"
    if fetched.is_file():
        return fetched
    if Path(name).is_file():
        return Path(name)
    if name in PUBLISHED_MODELS:
        raise CheckpointError(f"published checkpoint '{name}' is not here yet: run 'vltseg fetch {name}' first")
    available = ", ".join(sorted(p.stem for p in WEIGHTS_FOLDER.glob("*.safetensors"))) or "none"
    kind = "has no weights in this package" if name in PRESETS else "is neither a file nor a preset"
    raise CheckpointError(f"'{name}' {kind}: give a .safetensors file, or a preset that has weights ({available})")
