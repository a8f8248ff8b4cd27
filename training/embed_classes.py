# SPDX-License-Identifier: Apache-2.0
"""Makes class embeddings from a text encoder: python training/embed_classes.py minilm -o FILE.safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

from vltseg_core.checkpoints.class_embeddings import PROMPTS_FOLDER, save_class_embeddings
from vltseg_core.labels import CITYSCAPES
from vltseg_core.model.text_encoder import Prompts, clip_text_encoder, embed_classes, minilm_text_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder", help="minilm, or an open_clip architecture such as EVA02-L-14")
    parser.add_argument("--pretrained", default="", help="open_clip tag or weights file")
    parser.add_argument("--prompts", type=Path, default=PROMPTS_FOLDER / "cityscapes.yaml")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    is_minilm = arguments.encoder == "minilm"
    encode = minilm_text_encoder() if is_minilm else clip_text_encoder(arguments.encoder, arguments.pretrained)
    prompts = Prompts.read(arguments.prompts, CITYSCAPES.names)
    embeddings = embed_classes(encode, prompts, CITYSCAPES.names)
    source = "all-MiniLM-L6-v2" if is_minilm else f"{arguments.encoder} {arguments.pretrained}"
    save_class_embeddings(embeddings, arguments.output, source)
    print(f"{arguments.output}: {embeddings.shape[0]} classes, width {embeddings.shape[1]}, from {source}")


if __name__ == "__main__":
    main()
