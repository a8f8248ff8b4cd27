# SPDX-License-Identifier: Apache-2.0
"""What is optimised: a network with its losses, optimiser and validation, as a LightningModule."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn import functional as F

from vltseg_core.checkpoints.foreign_config import check_config
from vltseg_core.checkpoints.pretrained_towers import load_pretrained_tower
from vltseg_core.config import DEFAULT_PRESET, varied
from vltseg_core.config import preset as network_preset
from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.errors import ConfigurationError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.labels import CITYSCAPES
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder, MobileClipImageEncoder
from vltseg_core.model.vltseg import Vltseg, VltsegOutput
from vltseg_core.runtime.sliding_window import SlidingWindow
from vltseg_core.runtime.weights_path import weights_path
from vltseg_core.training.activation_checkpointing import checkpoint_activations
from vltseg_core.training.distributed import sum_over_processes
from vltseg_core.training.losses import (
    CodeFrequencies,
    code_cross_entropy,
    code_log_probabilities,
    pixel_text_loss,
    resize_codes,
    segment_dice,
)
from vltseg_core.training.mask2former_loss import Mask2FormerLoss, segments_of
from vltseg_core.training.optimizer import OptimizerSettings
from vltseg_core.training.starting_weights import class_embeddings_of, freeze, learned_context_of, load_initial_weights
from vltseg_core.training.training_samples import TrainingBatch
from vltseg_core.training.validation_images import ValidationImage, predict_labels


class SegmentationTask(pl.LightningModule):
    """Trains a network on label codes; every decoder layer is supervised.

    Learned queries: Mask2Former's matching loss on one segment a label code; its query may be any of the code's classes.
    Text queries: the final layer by cross-entropy and dice at half the image's size, the others by
    cross-entropy at a quarter. Pixel-text matching at the labels' size.

    Args:
        preset: name of the network, see `vltseg_core.config.PRESETS`.
        network: changes to the preset, sections nested as in `vltseg_core.config.VltsegConfig`.
        class_embeddings: safetensors file of class embeddings [K, D], or the name of a set that comes with the package;
            null takes those of `initial_weights`, else makes them with the text tower that belongs to `pretrained`.
        prompts: YAML file, or the name of one that comes with the package, for those that are made.
        initial_weights: weights of the same network to start from, a file or "tiny"; null starts from random ones.
        pretrained: what the image encoder starts from, see `load_pretrained_tower`; null starts from random weights.
        freeze_encoder: whether the image encoder stays as it is.
        frozen_stages: how many of a convolutional encoder's stages, and its stem, stay as they are.
        context_tokens: learnable tokens in front of the classes' names, through the CLIP's own text tower, whose weights
            come with `pretrained`; 0 keeps the class embeddings as they are.
        optimizer: rates, decay and schedule.
        class_balance: how much more a rare code's pixels weigh in the final cross-entropy: (mean share / share) to this power.
        auxiliary_weight: weight of the earlier layers' cross-entropy against the final one's.
        cross_entropy_weight, dice_weight, ptm_weight: weights of the losses; 0 leaves a loss out.
        validation_window: side and step in pixels of the window that slides over larger images in validation; 0 for whole images.
        validation_side_px: an image with a longer side is validated smaller; 0 for as large as the network takes them.
        activation_checkpointing: compute activations again instead of keeping them: less memory, more time.
        compile_backend: torch.compile's backend for the network, such as "inductor"; null runs it as it is.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        preset: str = DEFAULT_PRESET,
        class_embeddings: str | None = None,
        *,
        network: dict[str, Any] | None = None,
        prompts: str = "cityscapes",
        initial_weights: str | None = None,
        pretrained: str | None = None,
        freeze_encoder: bool = False,
        frozen_stages: int = 0,
        context_tokens: int = 0,
        optimizer: OptimizerSettings = OptimizerSettings(),  # noqa: B008  # frozen
        class_balance: float = 0.0,
        auxiliary_weight: float = 1.0,
        cross_entropy_weight: float = 2.0,
        dice_weight: float = 1.0,
        ptm_weight: float = 1.0,
        validation_window: tuple[int, int] = (512, 426),
        validation_side_px: int = 1024,
        activation_checkpointing: bool = False,
        compile_backend: str | None = None,
    ) -> None:
        super().__init__()
        self.optimizer_settings, self.pretrained, self.initial_weights = optimizer, pretrained, initial_weights
        self.class_balance, self.auxiliary_weight = class_balance, auxiliary_weight
        self.cross_entropy_weight, self.dice_weight, self.ptm_weight = cross_entropy_weight, dice_weight, ptm_weight
        self.validation_window = SlidingWindow(*validation_window) if validation_window[0] else None
        self.validation_side_px = validation_side_px
        self.frozen_stages, self.freeze_encoder, self.compile_backend = frozen_stages, freeze_encoder, compile_backend
        self.code_frequencies = CodeFrequencies()
        self.network = Vltseg(varied(network_preset(preset), network or {}))
        config = self.network.config
        check_config(config)  # or what was trained would be refused when it is loaded
        if config.classes != CITYSCAPES:
            raise ConfigurationError(
                f"a network of {config.classes.name}'s classes cannot be trained: every data set's labels become the 19 of "
                "Cityscapes, so leave class_table as it is"
            )
        # oneDNN's backward crashes on FastViT in channels_last (torch 2.14, CPU); the others train faster with it.
        is_fastvit = isinstance(self.network.image_encoder, MobileClipImageEncoder)
        self._memory_format = torch.contiguous_format if is_fastvit else torch.channels_last
        self.network.to(memory_format=self._memory_format)
        is_matched = ptm_weight > 0 or (config.fpn_decoder is not None and config.fpn_decoder.with_score_map)
        reads_text = is_matched or (config.mask_decoder is not None and config.mask_decoder.queries == "text")
        if pretrained is not None:
            load_pretrained_tower(self.network.image_encoder, pretrained)
        if initial_weights is not None:
            load_initial_weights(self.network, weights_path(initial_weights))
        texts = self.network.class_embeddings
        if texts is not None and (class_embeddings is not None or (reads_text and not texts.any())):
            texts.copy_(class_embeddings_of(self.network, class_embeddings, pretrained, prompts))
        freeze(self.network, encoder=freeze_encoder, num_stages=frozen_stages, matching=not is_matched)
        if activation_checkpointing:
            checkpoint_activations(self.network)
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1), persistent=False)
        self.learned_context = learned_context_of(self.network, context_tokens, pretrained) if context_tokens else None
        self.mask2former_loss = Mask2FormerLoss()
        self._confusions: list[ConfusionMatrix] = []

    def train(self, mode: bool = True) -> SegmentationTask:
        """As for any module; a frozen encoder stays in evaluation mode, without stochastic depth."""
        super().train(mode)
        if self.freeze_encoder:
            self.network.image_encoder.eval()
        return self

    def synchronise_batch_norms(self) -> None:
        """Normalise over the batches of all processes (GPUs only)."""
        self.network = convert_sync_batchnorm(self.network)
        if isinstance(self.network.image_encoder, ConvImageEncoder):
            self.network.image_encoder.freeze_stages(self.frozen_stages)  # its norms are other modules now

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """ConfigurationError where a run goes on from another network's checkpoint, as when its preset has changed since."""
        if isinstance(self.trainer.model, FullyShardedDataParallel):
            return  # its weights have other names
        found, wanted = ({k: v.shape for k, v in state.items()} for state in (checkpoint["state_dict"], self.state_dict()))
        differing = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        if differing:
            key = differing[0]
            raise ConfigurationError(
                f"the run began with another network than '{self.network.config.name}' is now: '{key}' was "
                f"{_shape(found.get(key))} and is {_shape(wanted.get(key))}: resume it with the version of this package "
                "that began it, or start anew in another --output"
            )

    def on_fit_start(self) -> None:
        if self.compile_backend is not None:
            self.network.compile(backend=self.compile_backend)

    @torch.no_grad()
    def embed_classes_by_context(self) -> None:
        """Give the network the class embeddings that the learnt context makes, if there is one."""
        if self.learned_context is not None and self.network.class_embeddings is not None:
            self.network.class_embeddings.copy_(self.learned_context())

    def normalise(self, images: Tensor) -> Tensor:
        """Images uint8 [B, 3, H, W] as the network wants them."""
        return ((images - self.mean) / self.std).contiguous(memory_format=self._memory_format)

    def training_step(self, batch: TrainingBatch, batch_index: int) -> Tensor:
        texts = None if self.learned_context is None else self.learned_context()
        if self.network.encoder_only_decoder is not None:
            self.network.encoder_only_decoder.anneal(self.global_step / max(1, self.trainer.estimated_stepping_batches))
        images = self.normalise(batch.images)
        output = self.network(images, with_score_map=self.ptm_weight > 0, class_embeddings=texts)
        losses = self.losses(output, batch.codes.long(), batch.seeds)
        total = torch.stack(list(losses.values())).sum()
        num_images = len(images)
        self.log_dict({f"loss/{name}": value for name, value in losses.items()}, batch_size=num_images)
        self.log("loss", total, prog_bar=True, batch_size=num_images)
        return total

    def losses(self, output: VltsegOutput, codes: Tensor, seeds: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        """Each weighted loss by name. Codes int64 [B, H, W]; seeds: of each image's random points."""
        losses = self._query_losses(output, codes, seeds)
        pixel_text = self.network.config.pixel_text
        if output.score_map is not None and pixel_text is not None:
            losses["ptm"] = self.ptm_weight * pixel_text_loss(output.score_map, codes, pixel_text.temperature)
        return losses

    def _query_losses(self, output: VltsegOutput, codes: Tensor, seeds: tuple[int, ...] | None) -> dict[str, Tensor]:
        if output.predictions[-1].class_logits is not None:
            num_classes = len(self.network.config.classes)
            return self.mask2former_loss(output.predictions, [segments_of(image, num_classes) for image in codes], seeds)
        *earlier, final = [prediction.mask_logits for prediction in output.predictions]
        quarter = (final.shape[-2], final.shape[-1])
        half = (2 * quarter[0], 2 * quarter[1])
        codes_quarter = resize_codes(codes, quarter)
        codes_half = resize_codes(codes, half)
        final = code_log_probabilities(F.interpolate(final, size=half, mode="bilinear", align_corners=False))
        weights = None
        if self.class_balance > 0:
            self.code_frequencies.update(codes_quarter)
            weights = self.code_frequencies.weights(self.class_balance)
        cross_entropy = code_cross_entropy(final, codes_half, weights)
        for mask_logits in earlier:
            auxiliary = code_cross_entropy(code_log_probabilities(mask_logits), codes_quarter, weights)
            cross_entropy = cross_entropy + self.auxiliary_weight * auxiliary
        return {
            "cross_entropy": self.cross_entropy_weight * cross_entropy,
            "dice": self.dice_weight * segment_dice(final, codes_half),
        }

    @property
    def _evaluation_sets(self) -> dict[str, EvaluationSet]:
        return self.trainer.datamodule.evaluation_sets  # type: ignore[attr-defined]  # Lightning sets it

    def on_validation_epoch_start(self) -> None:
        self.embed_classes_by_context()
        self._confusions = [ConfusionMatrix(len(s.class_names)) for s in self._evaluation_sets.values()]

    def validation_step(self, image: ValidationImage, batch_index: int, dataloader_idx: int = 0) -> dict[str, NDArray[np.uint8]]:
        """Under "predicted" the image's prediction in the set's own classes, uint8 [H, W]."""
        pixels = torch.from_numpy(image.labelled.image).permute(2, 0, 1)[None].to(self.device)
        train_ids = predict_labels(
            self.network,
            self.normalise(pixels),
            longest_side_px=self.validation_side_px,
            window=self.validation_window,
        )
        evaluation_set = list(self._evaluation_sets.values())[dataloader_idx]
        predicted = evaluation_set.to_truth_classes[train_ids[0].cpu().numpy()]
        if image.counts:
            self._confusions[dataloader_idx].add(predicted, image.labelled.codes)
        return {"predicted": predicted}

    def on_validation_epoch_end(self) -> None:
        scores: dict[str, float] = {}
        for (name, measured), confusion in zip(self._evaluation_sets.items(), self._confusions, strict=True):
            counts = sum_over_processes(torch.from_numpy(confusion.counts).to(self.device))
            confusion.counts = counts.cpu().numpy()
            if counts.any():
                scores[name] = 100 * confusion.mean_iou([measured.class_names.index(c) for c in measured.mean_classes])
        if scores:
            self.log_dict({f"miou/{name}": score for name, score in scores.items()}, prog_bar=True)
            self.log("miou/mean", float(np.mean(list(scores.values()))))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.optimizer_settings
        groups: list[dict[str, Any]] = [*settings.groups(self.network)]
        if self.learned_context is not None:
            groups.append({"params": [self.learned_context.context], "lr": settings.learning_rate, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, betas=settings.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, settings.rate_factor(int(self.trainer.estimated_stepping_batches))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By the norm of all gradients, which only the root of sharded weights knows."""
        root = self.trainer.model
        if isinstance(root, FullyShardedDataParallel) and gradient_clip_val:
            root.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(list(shape))
