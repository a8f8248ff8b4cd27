# SPDX-License-Identifier: Apache-2.0
"""AdamW's groups and the learning rate's course."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
_EMBEDDINGS = ("pos_embed", "level_embedding", "query_features", "query_positions", "mask_embedding")
_WRAPPERS = re.compile(r"_fsdp_wrapped_module\.|_orig_mod\.")
_ENCODER = "image_encoder."
_POWER = 0.9


@dataclass(frozen=True)
class OptimizerSettings:
    """How the weights are moved; the defaults are the paper's.

    learning_rate: AdamW's, at its highest. betas: AdamW's.
    encoder_rate_factor: the image encoder's learning rate as a multiple of it.
    layer_decay: from each of a ViT's blocks to the one before, its rate is multiplied by this once more.
    weight_decay: AdamW's; 0 on norms, and on position, level, query and mask embeddings.
    decay_biases: whether biases and other vectors decay, as in the published training.
    warm_up_steps: steps of linear rise before the polynomial decay (power 0.9, to 0).
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    encoder_rate_factor: float = 0.1
    layer_decay: float = 1.0
    weight_decay: float = 0.05
    decay_biases: bool = True
    warm_up_steps: int = 500

    def rate_factor(self, num_steps: int) -> Callable[[int], float]:
        """Step to the multiple of the highest learning rate, for a run of so many steps."""
        num_decaying = max(1, num_steps - self.warm_up_steps)

        def factor(step: int) -> float:
            if step < self.warm_up_steps:
                return (step + 1) / self.warm_up_steps
            return max(0.0, 1 - (step - self.warm_up_steps) / num_decaying) ** _POWER

        return factor

    def groups(self, network: nn.Module) -> Sequence[dict[str, Any]]:
        """AdamW's parameter groups of a network. They go by names and modules, since a shard of a weight is a vector."""
        norms = {
            id(p) for module in network.modules() if _is_norm(module) for p in module.parameters(recurse=False)
        }  # fmt: skip
        num_blocks = _num_blocks(network)
        groups: dict[tuple[float, bool], list[Tensor]] = {}
        for wrapped_name, parameter in network.named_parameters():
            if parameter.requires_grad:
                name = _WRAPPERS.sub("", wrapped_name)
                decays = id(parameter) not in norms and not any(part in name for part in _EMBEDDINGS)
                decays = decays and (self.decay_biases or not _is_vector(name))
                groups.setdefault((self._rate(name, num_blocks), decays), []).append(parameter)
        return [
            {"params": parameters, "lr": rate, "weight_decay": self.weight_decay if decays else 0.0}
            for (rate, decays), parameters in groups.items()
        ]

    def _rate(self, name: str, num_blocks: int) -> float:
        if not name.startswith(_ENCODER):
            return self.learning_rate
        block = re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", name)
        is_after = name.startswith(("image_encoder.trunk.norm.", "image_encoder.trunk.head."))
        depth = int(block[1]) + 1 if block else num_blocks + 1 if is_after else 0
        return self.learning_rate * self.encoder_rate_factor * float(self.layer_decay ** (num_blocks + 1 - depth))


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or "Norm" in type(module).__name__


def _is_vector(name: str) -> bool:
    return name.endswith(("bias", "gamma"))


def _num_blocks(network: nn.Module) -> int:
    names = [_WRAPPERS.sub("", name) for name, _ in network.named_parameters()]
    matches = [re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", name) for name in names]
    return max((int(match[1]) + 1 for match in matches if match), default=0)
