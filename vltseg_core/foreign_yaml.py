# SPDX-License-Identifier: Apache-2.0
"""YAML that a stranger may have written, read in bounded time and memory: plain values, lists and tables, nothing else."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from vltseg_core.errors import InputError

MAX_YAML_BYTES = 4 * 2**20
_MAX_PARTS = 200_000
"""Values, lists, tables and aliases; each takes about a kilobyte while it is read."""
_MAX_NUMBER_LETTERS = 64
_MAX_REASON_LETTERS = 200
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring = 1, 80

_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile("(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$")
_INT = re.compile(rf"(?=.{{1,{_MAX_NUMBER_LETTERS}}}$)[-+]?(?:0b[01_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$")
_FLOAT = re.compile(
    rf"(?=.{{1,{_MAX_NUMBER_LETTERS}}}$)"
    r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _PlainLoader(yaml.SafeLoader):
    """Knows no dates and no numbers to the base of 60, whose reading takes the square of their length.

    "<<" is refused: merging aliases of aliases writes out what they stand for. Longer numbers than any need stay text.
    """

    yaml_implicit_resolvers = {}
    yaml_constructors = {None: yaml.SafeLoader.construct_undefined}
    num_parts = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As for any loader, up to `_MAX_PARTS`."""
        self.num_parts += 1
        if self.num_parts > _MAX_PARTS:
            raise yaml.composer.ComposerError(problem=f"it has more than {_MAX_PARTS} parts")
        return super().compose_node(parent, index)

    def process_directives(self) -> Any:
        """Without tags of its own: a long one would be written out at every place that names it."""
        directives = super().process_directives()
        if self.tag_handles != self.DEFAULT_TAGS:
            raise yaml.parser.ParserError(problem="it has a %TAG line")
        return directives

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave the "<<" in, which then is an error."""

    def construct_yaml_str(self, node: yaml.ScalarNode) -> Any:
        """A text that can be written again: half a surrogate pair is a ValueError."""
        text = super().construct_yaml_str(node)
        text.encode("utf-8")
        return text

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> Any:
        """A bool of one of YAML's words."""
        return super().construct_yaml_bool(_checked(node, _BOOL))

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        """A whole number of bounded length."""
        return super().construct_yaml_int(_checked(node, _INT))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        """A number of bounded length."""
        return super().construct_yaml_float(_checked(node, _FLOAT))


def _checked(node: yaml.ScalarNode, form: re.Pattern[str]) -> yaml.ScalarNode:
    if not isinstance(node.value, str) or not form.match(node.value):
        kind = node.tag.removeprefix(_TAG)
        raise yaml.constructor.ConstructorError(problem=f"a value is no {kind}", problem_mark=node.start_mark)
    return node


for _name, _form, _first in (
    ("bool", _BOOL, [*"yYnNtTfFoO"]),
    ("float", _FLOAT, [*"-+0123456789."]),
    ("int", _INT, [*"-+0123456789"]),
    ("merge", re.compile("<<$"), ["<"]),
    ("null", re.compile("(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
):
    _PlainLoader.add_implicit_resolver(_TAG + _name, _form, _first)
for _name in ("null", "bool", "int", "float", "str", "seq", "map"):
    _PlainLoader.add_constructor(_TAG + _name, getattr(_PlainLoader, f"construct_yaml_{_name}"))


def yaml_of(text: str) -> Any:
    """What a text of YAML says; raises InputError with a few words of why it cannot be read."""
    if len(text) > MAX_YAML_BYTES:
        raise InputError(f"it is longer than {MAX_YAML_BYTES} letters")
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise InputError(_reason(error)) from error
    except RecursionError as error:
        raise InputError("it is nested too deeply") from error


def read_yaml(path: Path) -> Any:
    """The same of a file; raises InputError with a few words of why, OSError where the file cannot be read."""
    with path.open("rb") as file:
        content = file.read(MAX_YAML_BYTES + 1)
    try:
        return yaml_of(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError("it is no UTF-8") from error


def shown(value: object) -> str:
    """A value that was read, as a sentence can hold it: short, without control characters, lists in lists left out."""
    return _SHORT.repr(value)


def _reason(error: Exception) -> str:
    """What is wrong and where, on one line."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark is not None else ""
    words = " ".join(str(problem or error).split())
    return place + "".join(letter if letter.isprintable() else "?" for letter in words[:_MAX_REASON_LETTERS])
