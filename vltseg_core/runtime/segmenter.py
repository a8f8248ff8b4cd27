# SPDX-License-Identifier: Apache-2.0
"""`Segmenter`: the one door to the network for the node, the command line and the benchmarks."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

import vltseg_core.runtime.device as devices
from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.native import Checkpoint
from vltseg_core.config import PRESETS, SMALLEST_MAX_INPUT_PIXELS, InferenceConfig, PixelTextMatchingConfig
from vltseg_core.errors import ConfigurationError, DeviceError
from vltseg_core.labels import ClassTable
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.model.vltseg import Vltseg, VltsegOutput
from vltseg_core.runtime.augmentation import PLAIN, InferenceAugmentation, fit_within, within_pixels
from vltseg_core.runtime.backends import BackendBuild, BackendSettings, network_shape
from vltseg_core.runtime.device_faults import device_faults_told
from vltseg_core.runtime.engine_backend import EngineRequest, Progress
from vltseg_core.runtime.engine_cache import EngineCache
from vltseg_core.runtime.image_transfer import UploadedImage, image_transfer
from vltseg_core.runtime.labelling import labelled, labelled_best
from vltseg_core.runtime.network_input import NetworkInput, require_image, same_size
from vltseg_core.runtime.network_runner import NetworkRunner, ReadyBackend
from vltseg_core.runtime.run_time_network import RunTimeNetwork
from vltseg_core.runtime.scoring import ClassScores, covered_size
from vltseg_core.runtime.segmentation import Segmentation, SegmenterDescription
from vltseg_core.runtime.sliding_window import SlidingWindow
from vltseg_core.runtime.weights_file import WeightsFile
from vltseg_core.runtime.weights_path import weights_path

DEFAULT_IMAGE_SIZE = (360, 640)
_CPU_PIXELS_AT_ONCE = 400_000
"""Larger batches take longer on a CPU than their images one by one: activations outgrow its caches and need fresh pages."""


class Segmenter:
    """Images in, labels and confidence out, at each image's own size.

    Not to be shared between threads: one thread calls `segment` at a time.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        source: str,
        device: torch.device,
        precision: str,
        input_size: tuple[int, int] | None,
        max_input_pixels: int = 0,
        window: SlidingWindow | None = None,
        whole_masks: bool = False,
        augmentation: InferenceAugmentation = PLAIN,
    ) -> None:
        network = checkpoint.network.eval()
        self._num_parameters = sum(p.numel() for p in network.parameters())
        fold_for_inference(network)
        self.classes: ClassTable = network.config.classes
        self._network: Vltseg | None = network.to(device, devices.DTYPES[precision]).to(memory_format=torch.channels_last).eval()
        self._device, self._precision, self._input_size, self._window = device, precision, input_size, window
        self._max_input_pixels, self._whole_masks, self._augmentation = max_input_pixels, whole_masks, augmentation
        self._source, self._trained_on, self._config = source, checkpoint.trained_on, network.config
        self._runner: NetworkRunner | None = NetworkRunner(
            RunTimeNetwork(self._network), ReadyBackend("eager", "nothing else was asked for")
        )
        self._backend_build: BackendBuild | None = None
        self._input = NetworkInput(network.config, precision, device)
        self._transfer = image_transfer(device)

    @classmethod
    def load(
        cls,
        checkpoint_or_preset: str | Path = "tiny",
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str | BackendSettings = "auto",
        input_size: tuple[int, int] | None = None,
        max_input_pixels: int | None = None,
        window_px: int | None = None,
        whole_masks: bool = False,
        augmentation: InferenceAugmentation = PLAIN,
    ) -> Segmenter:
        """A segmenter ready to be warmed up.

        Args:
            checkpoint_or_preset: a .safetensors file, a preset whose weights come with the package ("tiny"), or the name of
                a published checkpoint that was fetched ("acdc_1").
            device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
            precision: "auto" (fp16 on a GPU, fp32 on a CPU), "fp32", "fp16" or "bf16".
            backend: one of BACKENDS, or more settings of it; "auto" is the best that works, see `describe`.
            input_size: (height, width) in pixels that every image is resized to; None keeps each image's own size, as far as
                max_input_pixels lets it.
            max_input_pixels: most pixels with which an image enters where no size is given: a larger one is made smaller, its
                ratio kept; 0 for any number, None takes the checkpoint's own ("tiny": as many as 960x540 has).
            window_px: side of the square window that slides over images larger than it, 0 for whole images; None takes the
                checkpoint's own (the published crop for a published checkpoint, else 0).
            whole_masks: resize the masks of all queries at once, as the published code does, at several times the
                memory; the labels differ by rounding alone (see `semantic_scores`).
            augmentation: test-time augmentation, none unless given.

        Raises CheckpointError, ConfigurationError or DeviceError with what to do next.
        """
        settings = BackendSettings(backend) if isinstance(backend, str) else backend
        if input_size is not None and min(input_size) < 32:
            raise ConfigurationError(f"input size {input_size} (height, width) is too small: use 32 pixels or more")
        if window_px and not window_px >= 32:
            raise ConfigurationError(f"window of {window_px} pixels is too small: use 32 or more, or 0 for whole images")
        if max_input_pixels and not max_input_pixels >= SMALLEST_MAX_INPUT_PIXELS:
            raise ConfigurationError(
                f"at most {max_input_pixels} pixels an image: use {SMALLEST_MAX_INPUT_PIXELS} or more, or 0 for any number"
            )
        chosen_device = devices.resolve_device(device)
        chosen_precision = devices.resolve_precision(precision, chosen_device)
        path = weights_path(checkpoint_or_preset)
        weights = WeightsFile.about_to_be_read(path)
        checkpoint = native.load(path)
        inference = checkpoint.network.config.inference
        segmenter = cls(
            checkpoint,
            source=str(path),
            device=chosen_device,
            precision=chosen_precision,
            input_size=input_size,
            max_input_pixels=inference.max_input_pixels if max_input_pixels is None else max_input_pixels,
            window=_window(inference, window_px),
            whole_masks=whole_masks,
            augmentation=augmentation,
        )
        segmenter._prepare_backend(settings, weights)
        return segmenter

    def _prepare_backend(self, settings: BackendSettings, weights: WeightsFile) -> None:
        assert self._runner is not None
        shape = network_shape(self._input_size, self._window.size_px if self._window else 0, settings.batch_size)
        request = shape and EngineRequest(
            self._runner.network, weights, self._config.to_dict(), self._precision, shape, EngineCache(settings.engine_cache)
        )
        self._backend_build = BackendBuild(settings, self._runner, request or None, str(weights.path))
        if not settings.build_later:
            self._backend_build.run()

    @property
    def has_backend_to_build(self) -> bool:
        """Whether `build_backend` has something to do."""
        return self._backend_build is not None and self._backend_build.is_wanted

    @property
    def serves_meanwhile(self) -> bool:
        """Whether the eager network is to serve while a backend is built, whatever else was asked for: with auto on a CPU."""
        build = self._backend_build
        return build is not None and build.eager_serves_meanwhile

    def build_backend(self, progress: Progress | None = None) -> str:
        """Build or load the backend that was put off by `build_later`; it takes over from the eager network when it works.

        Gives what failed where "auto" went on to the next, else nothing.

        May run in another thread while `segment` serves. progress: told of each step. Raises DeviceError where a backend
        that was asked for by name does not work; the eager network goes on serving then.
        """
        return self._backend_build.run(progress, in_process=False) if self._backend_build is not None else ""

    @property
    def uploads_beside_the_network(self) -> bool:
        """Whether `upload` in one thread saves time while `segment` runs in another: on a GPU."""
        return self._transfer.runs_beside_the_network

    @torch.inference_mode()
    def upload(self, image: NDArray[np.uint8]) -> UploadedImage:
        """An image uint8 [H, W, 3] RGB on its way to the device, for `segment`; may run in another thread than that.

        On a CPU nothing is copied, so the array must not change before it is segmented. Raises what `segment` does.
        """
        if self._network is None:
            raise DeviceError("this segmenter is closed: load a new one")
        require_image(image)
        with device_faults_told(self._device, f"an image of {image.shape[1]}x{image.shape[0]}"):
            return self._transfer.upload(image)

    @torch.inference_mode()
    def segment(
        self, images: Sequence[NDArray[np.uint8] | UploadedImage], *, box: tuple[int, int] | None = None
    ) -> list[Segmentation]:
        """Labels and confidence of each image, at its own size.

        Args:
            images: uint8 [H, W, 3] RGB each, or what `upload` made of them; sizes may differ. Images of one size enter the
                network as one batch, on a CPU as several small ones.
            box: (height, width) in pixels that every image is fitted to first, its ratio kept, in place of `input_size` and
                `max_input_pixels`.

        Raises InputError for an array that is no such image; DeviceMemoryError when memory runs out; DeviceLostError where
        the device itself fails; NonFiniteScoresError where the scores are no finite numbers, as in a precision too small
        for the network; DeviceError after `close`.
        """
        if self._network is None:
            raise DeviceError("this segmenter is closed: load a new one")
        uploaded = [image if isinstance(image, UploadedImage) else self.upload(image) for image in images]
        results: dict[int, Segmentation] = {}
        for members in same_size(uploaded):
            for index, segmentation in zip(members, self._segment_batch([uploaded[i] for i in members], box), strict=True):
                results[index] = segmentation
        return [results[i] for i in range(len(images))]

    @torch.inference_mode()
    def match_text(self, images: Sequence[NDArray[np.uint8]]) -> list[Segmentation]:
        """What pixel-text matching alone says: each place's nearest class text, and its softmax probability.

        Takes and raises what `segment` does, and ConfigurationError where the network is not matched to text. Images enter
        as `segment` has them but one by one and without windows; the score map is resized bilinearly to their size.
        """
        pixel_text = self._require_pixel_text()
        matches = []
        for image in images:
            size = (image.shape[0], image.shape[1])
            inputs, output = self._matched(image)
            assert self._network is not None and output.score_map is not None  # there is pixel_text
            covered = covered_size(output.score_map, self._network.score_map_stride, self._config, inputs, size)
            logits = F.interpolate(output.score_map.float() / pixel_text.temperature, size=covered, mode="bilinear")
            matches += labelled(logits[..., : size[0], : size[1]].softmax(1), self._precision)
        return matches

    @torch.inference_mode()
    def embed(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The dense embedding that pixel-text matching compares with the class embeddings, float32 [D, h, w].

        Takes and raises what `match_text` does, for one image; h and w are the score map's.
        """
        self._require_pixel_text()
        dense = self._matched(image)[1].dense_embedding
        assert dense is not None  # there is pixel_text
        return np.asarray(dense[0].float().cpu().numpy())

    @property
    def class_embeddings(self) -> NDArray[np.float32]:
        """Each class's text, float32 [K, D]; raises what `match_text` does."""
        self._require_pixel_text()
        assert self._network is not None and self._network.class_embeddings is not None  # there is pixel_text
        return np.asarray(self._network.class_embeddings.float().cpu().numpy())

    def _require_pixel_text(self) -> PixelTextMatchingConfig:
        if self._config.pixel_text is None:
            raise ConfigurationError(f"'{self._source}' has no pixel-text matching, so there is no score map to show")
        if self._network is None:
            raise DeviceError("this segmenter is closed: load a new one")
        return self._config.pixel_text

    def _matched(self, image: NDArray[np.uint8]) -> tuple[Tensor, VltsegOutput]:
        """One whole image as the network's input, and what it says of it, score map included."""
        assert self._network is not None
        batch = self._transfer.batch([self.upload(image)])
        inputs = self._input(batch, self._entry_size((image.shape[0], image.shape[1])))
        output: VltsegOutput = self._network(inputs, with_score_map=True)
        return inputs, output

    def _segment_batch(self, images: list[UploadedImage], box: tuple[int, int] | None) -> list[Segmentation]:
        assert self._runner is not None
        scores_of = ClassScores(self._runner, self._config, self._window, self._whole_masks)
        height, width = images[0].pixels.shape[:2]
        input_size = fit_within((height, width), box) if box else self._entry_size((height, width))
        at_once = self._images_at_once(input_size)
        if len(images) > at_once:
            parts = [images[i : i + at_once] for i in range(0, len(images), at_once)]
            return [found for part in parts for found in self._segment_batch(part, box)]
        with device_faults_told(self._device, f"{len(images)} images of {width}x{height}"):
            batch = self._transfer.batch(images)
            if self._augmentation == PLAIN:
                return labelled_best(scores_of.best(self._input(batch, input_size), (height, width)), self._precision)
            scores = self._augmentation.mean_scores(
                batch, input_size, lambda view, size: scores_of(self._input(view, size), (height, width))
            )
            return labelled(scores, self._precision)

    def _entry_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) with which an image of that size enters the network."""
        return self._input_size or within_pixels(image_size, self._max_input_pixels)

    def _images_at_once(self, input_size: tuple[int, int]) -> int:
        """How many images to put through the eager network together on a CPU.

        A compiled one has its own number, see `NetworkRunner`; what it passes on to the eager network goes undivided.
        """
        assert self._runner is not None
        if self._device.type != "cpu" or self._runner.name != "eager":
            return sys.maxsize
        return max(1, _CPU_PIXELS_AT_ONCE // (input_size[0] * input_size[1]))

    def warm_up(self, image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE, batch_size: int = 1) -> float:
        """Run twice on grey images (height, width), so that the first real one is not slow; seconds of the last pass."""
        images = [np.full((*image_size, 3), 128, np.uint8)] * batch_size
        self.segment(images)
        start = time.perf_counter()
        self.segment(images)
        return time.perf_counter() - start

    def describe(self) -> SegmenterDescription:
        """What runs where."""
        return SegmenterDescription(
            checkpoint=self._source,
            preset=self._config.name if self._config.name in PRESETS else "custom",
            classes=self.classes,
            num_parameters=self._num_parameters,
            device=devices.describe_device(self._device),
            precision=self._precision,
            backend=self._runner.name if self._runner else "eager",
            backend_reason=self._runner.reason if self._runner else "closed",
            input_size=self._input_size,
            max_input_pixels=0 if self._input_size else self._max_input_pixels,
            trained_on=self._trained_on,
            window=self._window,
            augmentation=self._augmentation,
        )

    def memory_bytes(self) -> int:
        """Device memory in use on a GPU, else the process's resident set, in bytes."""
        return devices.memory_bytes(self._device)

    def close(self) -> None:
        """Free the device's memory. Safe to call twice."""
        if self._backend_build is not None:
            self._backend_build.cancel()
        self._network = self._runner = self._backend_build = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _window(inference: InferenceConfig, window_px: int | None) -> SlidingWindow | None:
    if window_px is None or window_px == inference.window_px:
        return SlidingWindow(inference.window_px, inference.window_step_px) if inference.window_px else None
    return SlidingWindow(window_px) if window_px else None
