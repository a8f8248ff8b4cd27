# SPDX-License-Identifier: Apache-2.0
"""How much memory a computation on meta tensors would hold at its peak, without computing it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Counts the storages that are alive among the tensors made inside the `with`; `peak_bytes` is the most at once.

    Attention counts as a fused kernel does it, by its output alone: meta tensors would take the way that writes out every
    weight. What an operator needs for itself while it runs is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._alive_bytes: dict[int, int] = {}
        self._fused_attention = _FusedAttention()

    def __enter__(self) -> PeakMemory:
        super().__enter__()
        self._fused_attention.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._fused_attention.__exit__(*exception)
        super().__exit__(*exception)

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage(), made_here=False)
        results = function(*args, **(kwargs or {}))
        for value in tree_leaves(results):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage(), made_here=True)
        return results

    def _note(self, storage: torch.UntypedStorage, *, made_here: bool) -> None:
        """A storage that comes in before an operator made it (a weight, an input) counts nothing, its views neither."""
        key = storage._cdata
        if key not in self._alive_bytes:
            self._alive_bytes[key] = storage.nbytes() if made_here else 0
            weakref.finalize(storage, self._alive_bytes.pop, key, None)
            self.peak_bytes = max(self.peak_bytes, sum(self._alive_bytes.values()))


class _FusedAttention(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is F.scaled_dot_product_attention:
            return torch.empty_like(args[0] if args else (kwargs or {})["query"])
        return function(*args, **(kwargs or {}))
