# SPDX-License-Identifier: Apache-2.0
"""Makes class embeddings from a text encoder: python training/embed_classes.py minilm -o FILE.safetensors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.checkpoints.class_embeddings import PROMPTS_FOLDER, save_class_embeddings
from vltseg_core.checkpoints.pretrained_files import pretrained_path
from vltseg_core.errors import ConfigurationError, VltsegError
from vltseg_core.labels import CITYSCAPES, CLASS_TABLES
from vltseg_core.model.text_encoder import Prompts, clip_text_encoder, embed_classes, minilm_text_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "encoder", help="minilm, an open_clip architecture such as EVA02-L-14, or random: what text means is lost"
    )
    parser.add_argument("--pretrained", default="", help="weights file, or an open_clip tag that 'vltseg fetch' has brought")
    parser.add_argument("--classes", choices=CLASS_TABLES, default=CITYSCAPES.name, help="the network's classes")
    parser.add_argument("--prompts", type=Path, help="YAML file; else the package's own for these classes")
    parser.add_argument("--width", type=int, default=384, help="of random embeddings; minilm's unless given")
    parser.add_argument("--seed", type=int, default=0, help="of random embeddings")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    classes = CLASS_TABLES[arguments.classes].names
    if arguments.encoder == "random":
        embeddings = random_embeddings(len(classes), arguments.width, arguments.seed)
        save(embeddings, arguments.output, f"random, seed {arguments.seed}")
        return
    prompts = Prompts.read(arguments.prompts or PROMPTS_FOLDER / f"{arguments.classes}.yaml", classes)
    is_minilm = arguments.encoder == "minilm"
    encode = minilm_text_encoder() if is_minilm else clip_text_encoder(arguments.encoder, weights_file(arguments))
    embeddings = embed_classes(encode, prompts, classes)
    source = "all-MiniLM-L6-v2" if is_minilm else f"{arguments.encoder} {arguments.pretrained}"
    save(embeddings, arguments.output, source)


def random_embeddings(num_classes: int, width: int, seed: int) -> Tensor:
    """Unit vectors [K, D] in random directions, for measuring what text adds."""
    return F.normalize(torch.randn(num_classes, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def save(embeddings: Tensor, path: Path, source: str) -> None:
    """Write the file and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_class_embeddings(embeddings, path, source)
    print(f"{path}: {embeddings.shape[0]} classes, width {embeddings.shape[1]}, from {source}")


def weights_file(arguments: argparse.Namespace) -> str:
    """The CLIP's weights, by file or tag."""
    if not arguments.pretrained:
        raise ConfigurationError(f"'{arguments.encoder}' needs its weights: give --pretrained FILE or TAG")
    if Path(arguments.pretrained).suffix:
        return str(arguments.pretrained)
    return str(pretrained_path(arguments.encoder, arguments.pretrained))


if __name__ == "__main__":
    try:
        main()
    except VltsegError as error:
        sys.exit(f"error: {error}")
