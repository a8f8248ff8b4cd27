# SPDX-License-Identifier: Apache-2.0
"""What the pickle in a torch file names, read from its opcodes without running any.

torch's restricted reader calls some functions that no weights need: `bytearray(n)` fills n bytes, `_codecs.encode` can double
its text again and again. So a file may name what tensors and plain containers are made of, and nothing else.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import torch

MAX_PICKLE_BYTES = 16 * 2**20
"""A network of a thousand tensors has 0.2 MB beside its numbers."""
_ZIP_START = b"PK\x03\x04"  # by which torch tells its two forms apart
_NUM_OLD_PICKLES = 5  # a magic number, a version, the machine, the content, the names of what follows
_OF_WEIGHTS = re.compile(
    r"""torch\.(\w+Storage | (bfloat|float|int|uint|complex)\d+ | bool | Size | device)
    | torch\._utils\._rebuild_(tensor(_v2)?|parameter|sparse_tensor) | torch\.serialization\._get_layout
    | collections\.(OrderedDict|Counter) | (builtins|__builtin__)\.(set|complex)""",
    re.VERBOSE,
)


def names_besides_weights(path: Path) -> list[str]:
    """The functions and classes that the file names and weights do not need, such as "builtins.bytearray".

    Raises ValueError, OSError or RuntimeError where it is no torch file, or its pickle is larger than any network's.
    """
    with path.open("rb") as file:
        named = {
            str(argument).replace(" ", ".")
            for pickled in _pickles(file, path)
            for opcode, argument, _ in pickletools.genops(pickled)
            if opcode.name in ("GLOBAL", "INST")
        }
    return sorted(name for name in named if not _OF_WEIGHTS.fullmatch(name))


def _pickles(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """The file's pickles as torch finds them, each to be read to its end before the next."""
    if file.read(len(_ZIP_START)) == _ZIP_START:
        content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
        if len(content) > MAX_PICKLE_BYTES:
            raise ValueError(f"a pickle of {len(content)} bytes")
        yield BytesIO(content)
    else:
        file.seek(0)
        for _ in range(_NUM_OLD_PICKLES):
            yield file
