# SPDX-License-Identifier: Apache-2.0
"""What degraded pictures do to the input check and to the network's own confidence.

    python benchmarks/input_health.py [--checkpoint tiny] [--scenes 6] [--camvid FOLDER] [--json FILE]

For drawn scenes in five conditions, and CamVid by day and dusk where there is a folder: the share of pictures with a
finding, and the network's mean confidence (before the check's factor) beside that on the same pictures undegraded.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.data.demo_images import FIRST_UNSEEN_SEED, DemoImages
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.input_health import InputHealth, trusted

Picture = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="tiny")
    parser.add_argument("--scenes", type=int, default=6, help="pictures of each condition")
    parser.add_argument("--camvid", type=Path, help="folder with {train,val}/images")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.checkpoint, device="cpu")
    pictures = scenes(arguments.scenes) | (camvid(arguments.camvid, arguments.scenes) if arguments.camvid else {})
    rows = [measure(segmenter, name, degrade, pictures) for name, degrade in DEGRADATIONS.items()]
    print("| picture | found | network's own mean confidence | published |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row['name']} | {row['found']:.0%} | {row['confidence']:.3f} | {row['published']:.3f} |")
    names = list(pictures)
    print("\n| own confidence by condition | " + " | ".join(names) + " |\n|" + " --- |" * (len(names) + 1))
    for row in rows:
        print(f"| {row['name']} | " + " | ".join(f"{row['by condition'][name]:.3f}" for name in names) + " |")
    print(f"check of 1920x1080: {check_ms():.2f} ms median")
    print(f"{arguments.checkpoint}, {sum(map(len, pictures.values()))} pictures, {', '.join(v for _, v in describe_machine())}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def measure(
    segmenter: Segmenter, name: str, degrade: Callable[[Picture], Picture], pictures: dict[str, list[Picture]]
) -> dict[str, Any]:
    """Findings and mean confidences over all pictures, and by condition."""
    found, own, published = [], {}, []
    for condition, originals in pictures.items():
        confidences = []
        for original in originals:
            picture = degrade(original)
            result = segmenter.segment([picture])[0]
            report = InputHealth().check(picture, 0.0)
            found.append(bool(report.findings))
            confidences.append(result.confidence.mean() / 255)
            published.append(trusted(result, report.trust).confidence.mean() / 255)
        own[condition] = float(np.mean(confidences))
    return {
        "name": name,
        "found": float(np.mean(found)),
        "confidence": float(np.mean(list(own.values()))),
        "published": float(np.mean(published)),
        "by condition": own,
    }


def check_ms(num_checks: int = 200) -> float:
    """Median milliseconds of one check of a picture of 1920x1080, on one thread."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8) for _ in range(4)]
    health, times_ms = InputHealth(), []
    for i in range(num_checks):
        start = time.perf_counter()
        health.check(pictures[i % 4], i / 30)
        times_ms.append((time.perf_counter() - start) * 1000)
    return float(np.median(times_ms))


def scenes(num_scenes: int) -> dict[str, list[Picture]]:
    return {
        condition: [images[i].image for i in range(num_scenes)]
        for condition in CONDITIONS
        for images in [DemoImages(num_scenes, first_seed=FIRST_UNSEEN_SEED, condition=condition)]
    }


def camvid(folder: Path, num_pictures: int) -> dict[str, list[Picture]]:
    paths = sorted(folder.glob("*/images/*"))
    by_light = {
        "CamVid day": [p for p in paths if not p.name.startswith("0001TP")],
        "CamVid dusk": [p for p in paths if p.name.startswith("0001TP")],
    }
    spread = {light: found[:: max(1, len(found) // num_pictures)][:num_pictures] for light, found in by_light.items()}
    return {light: [np.array(Image.open(path).convert("RGB")) for path in found] for light, found in spread.items()}


def noisy(levels: NDArray[np.floating]) -> Picture:
    return np.clip(levels + np.random.default_rng(0).normal(0, 1.5, levels.shape), 0, 255).astype(np.uint8)


def exposed(factor: float) -> Callable[[Picture], Picture]:
    return lambda picture: noisy(picture.astype(np.float32) * factor)


def blurred(share_of_width: float) -> Callable[[Picture], Picture]:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[1] * share_of_width), np.uint8)


def partly_covered(picture: Picture) -> Picture:
    covered = picture.copy()
    covered[:, : picture.shape[1] // 2] = 30
    return covered


DEGRADATIONS: dict[str, Callable[[Picture], Picture]] = {
    "sound": lambda picture: picture,
    "covered: a hand, 8 % of the light, no detail": lambda p: noisy(60 + 0.08 * blurred(0.1)(p).astype(np.float32)),
    "covered: lens cap, black with noise": lambda p: noisy(np.full(p.shape, 8.0)),
    "covered on its left half": partly_covered,
    "under-exposed, a twentieth of the light": exposed(0.05),
    "under-exposed, a tenth of the light": exposed(0.1),
    "under-exposed, a third of the light": exposed(0.33),
    "over-exposed, 4 times the light": exposed(4.0),
    "over-exposed, 10 times the light": exposed(10.0),
    "blurred, sigma 0.5 % of the width": blurred(0.005),
    "blurred, sigma 1 % of the width": blurred(0.01),
    "blurred, sigma 2 % of the width": blurred(0.02),
    "blurred, sigma 4 % of the width": blurred(0.04),
    "motion blur over 5 % of the width": lambda p: np.asarray(cv2.blur(p, (p.shape[1] // 20, 1)), np.uint8),
}


if __name__ == "__main__":
    main()
