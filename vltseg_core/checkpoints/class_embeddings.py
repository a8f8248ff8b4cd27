# SPDX-License-Identifier: Apache-2.0
"""Class embeddings on disk: made once from a text encoder, so that nothing later needs one."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vltseg_core.config import VltsegConfig
from vltseg_core.errors import CheckpointError

PROMPTS_FOLDER = Path(__file__).parent.parent / "prompts"
_KEY = "class_embeddings"


def save_class_embeddings(embeddings: Tensor, path: Path, source: str) -> None:
    """Embeddings float [K, D] to a safetensors file that names the text encoder in its header.

    Raises CheckpointError where a value is no finite number.
    """
    if not bool(embeddings.isfinite().all()):
        raise CheckpointError(f"class embeddings of '{source}' hold values that are no finite numbers: check its weights")
    save_file({_KEY: embeddings.contiguous()}, path, metadata={"text_encoder": source})


def load_class_embeddings(name_or_path: str, config: VltsegConfig) -> Tensor:
    """Embeddings float [K, D] for a network: a file, or a name such as "minilm" that comes with the package."""
    path = Path(name_or_path)
    if not path.suffix:
        path = PROMPTS_FOLDER / f"{name_or_path}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROMPTS_FOLDER.glob("*.safetensors")))
        raise CheckpointError(f"class embeddings '{name_or_path}' not found: give a .safetensors file, or one of {known}")
    try:
        embeddings = load_file(path)[_KEY]
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"'{path}' holds no class embeddings: make them with training/embed_classes.py") from error
    expected = (len(config.classes), config.pixel_text.embedding_width if config.pixel_text else 0)
    if tuple(embeddings.shape) != expected:
        raise CheckpointError(
            f"class embeddings '{path}' are {list(embeddings.shape)}, network '{config.name}' expects {list(expected)}: "
            "make them from its own text encoder"
        )
    return embeddings
