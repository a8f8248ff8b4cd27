# SPDX-License-Identifier: Apache-2.0
"""Stands in for train.py and for the evaluation: quick, and failing or stopping where the settings say so."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path


def after(option: str) -> str:
    return sys.argv[sys.argv.index(option) + 1]


def train() -> None:
    settings = dict(argument[2:].split("=", 1) for argument in sys.argv if argument.startswith("--") and "=" in argument)
    folder = Path(after("--output"))
    calls = folder / "calls.txt"
    calls.write_text(calls.read_text() + "train\n" if calls.exists() else "train\n")
    if settings.get("model.ptm_weight") == "9":
        sys.exit("error: the loss is not a number")
    if settings.get("wait"):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("training begins", flush=True)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (folder / "half.ckpt").touch()
            sys.exit(130)
    (folder / "model.safetensors").write_text(json.dumps(settings))


def evaluate() -> None:
    settings = json.loads(Path(after("--checkpoint")).read_text())
    names = [sys.argv[i + 1].partition("=")[0] for i, argument in enumerate(sys.argv) if argument == "--target"]
    miou = 0.4 + 0.1 * float(settings["model.ptm_weight"]) + 0.01 * int(settings.get("seed_everything", 0))
    Path(after("-o")).write_text(json.dumps({name: {"miou": miou, "iou": {"road": miou}} for name in names}))


if __name__ == "__main__":
    train() if sys.argv[1] == "train" else evaluate()
