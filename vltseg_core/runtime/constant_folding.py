# SPDX-License-Identifier: Apache-2.0
"""What a graph computes from weights alone, computed once: position embeddings resized to the image's grid, rotary tables.

Torch-TensorRT has no converter for the anti-aliased bicubic resizing of position embeddings, nor is there a need to
repeat it for every frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node, map_arg


@torch.no_grad()
def fold_constants(graph_module: GraphModule) -> GraphModule:
    """The module, with every value that no input reaches made a buffer; changed in place. Its operators must be functional."""
    constants: dict[Node, Any] = {}
    folded: list[Node] = []
    for node in graph_module.graph.nodes:
        if node.op == "get_attr":
            constants[node] = _attribute(graph_module, node.target)
        elif node.op == "call_function" and all(argument in constants for argument in node.all_input_nodes) and node.users:
            arguments, keywords = map_arg((node.args, dict(node.kwargs)), lambda argument: constants[argument])
            constants[node] = node.target(*arguments, **keywords)
            folded.append(node)
    for node in folded:
        value = constants[node]
        if isinstance(value, Tensor) and any(user not in constants for user in node.users):
            _replace_by_buffer(graph_module, node, value, keep={user for user in node.users if user in constants})
    graph_module.graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return graph_module


def _replace_by_buffer(graph_module: GraphModule, node: Node, value: Tensor, *, keep: set[Node]) -> None:
    name = f"folded_{node.name}"
    graph_module.register_buffer(name, value.detach().contiguous().clone())
    with graph_module.graph.inserting_before(node):
        constant = graph_module.graph.get_attr(name)
    constant.meta = dict(node.meta)
    node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in keep)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module
