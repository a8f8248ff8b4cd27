# SPDX-License-Identifier: Apache-2.0
"""What is optimised: a network with its losses, optimiser and validation, as a LightningModule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.class_embeddings import load_class_embeddings
from vltseg_core.checkpoints.pretrained_files import pretrained_path
from vltseg_core.checkpoints.pretrained_towers import load_pretrained_tower
from vltseg_core.config import preset as network_preset
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.errors import ConfigurationError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder, MobileClipImageEncoder
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.model.text_encoder import LearnedContext
from vltseg_core.model.vltseg import Vltseg, VltsegOutput
from vltseg_core.training.losses import CodeFrequencies, code_cross_entropy, code_log_probabilities, resize_codes, segment_dice
from vltseg_core.training.mask2former_loss import Mask2FormerLoss, segments_of


class TrainingBatch(NamedTuple):
    """images: uint8 [B, 3, H, W] RGB. codes: label codes, uint8 [B, H, W]."""

    images: Tensor
    codes: Tensor


class SegmentationTask(pl.LightningModule):
    """Trains a network on label codes; every decoder layer is supervised.

    Learned queries: Mask2Former's matching loss on one segment a class; codes that stand for several classes count for
    nothing there. Text queries: the final layer by cross-entropy and dice at half the image's size, the others by
    cross-entropy at a quarter. Pixel-text matching at the score map's own size.

    Args:
        preset: name of the network, see `vltseg_core.config.PRESETS`.
        class_embeddings: safetensors file of class embeddings [K, D], or the name of a set that comes with the package.
        initial_weights: weights file of the same network to start from; None starts from random weights.
        pretrained: what the image encoder starts from, see `load_pretrained_tower`; None starts from random weights.
        frozen_stages: how many of a convolutional encoder's stages, and its stem, stay as they are.
        context_tokens: learnable tokens in front of the classes' names, through the CLIP's own text tower, whose weights
            come with `pretrained`; 0 keeps the class embeddings as they are.
        learning_rate: AdamW's, at its highest.
        encoder_rate_factor: the image encoder's learning rate as a multiple of it.
        weight_decay: AdamW's; 0 on norms, biases and embeddings.
        warm_up_steps: steps of linear rise before the polynomial decay (power 0.9, to 0).
        class_balance: how much more a rare code's pixels weigh in the final cross-entropy: (mean share / share) to this power.
        auxiliary_weight: weight of the earlier layers' cross-entropy against the final one's.
        cross_entropy_weight, dice_weight, ptm_weight: weights of the losses; 0 leaves a loss out.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        preset: str = "tiny",
        class_embeddings: str = "minilm",
        *,
        initial_weights: str | None = None,
        pretrained: str | None = None,
        frozen_stages: int = 0,
        context_tokens: int = 0,
        learning_rate: float = 1e-3,
        encoder_rate_factor: float = 1.0,
        weight_decay: float = 0.05,
        warm_up_steps: int = 150,
        class_balance: float = 0.0,
        auxiliary_weight: float = 1.0,
        cross_entropy_weight: float = 2.0,
        dice_weight: float = 1.0,
        ptm_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.learning_rate, self.encoder_rate_factor = learning_rate, encoder_rate_factor
        self.weight_decay, self.warm_up_steps = weight_decay, warm_up_steps
        self.class_balance, self.auxiliary_weight = class_balance, auxiliary_weight
        self.code_frequencies = CodeFrequencies()
        self.cross_entropy_weight, self.dice_weight, self.ptm_weight = cross_entropy_weight, dice_weight, ptm_weight
        self.network = Vltseg(network_preset(preset))
        # oneDNN's backward crashes on FastViT in channels_last (torch 2.14, CPU); the others train faster with it.
        is_fastvit = isinstance(self.network.image_encoder, MobileClipImageEncoder)
        self._memory_format = torch.contiguous_format if is_fastvit else torch.channels_last
        self.network.to(memory_format=self._memory_format)
        if self.network.class_embeddings is not None:
            self.network.class_embeddings.copy_(load_class_embeddings(class_embeddings, self.network.config))
        config = self.network.config
        if pretrained is not None:
            load_pretrained_tower(self.network.image_encoder, pretrained)
        if initial_weights is not None:
            start = native.load(Path(initial_weights)).network
            if start.config != config:
                raise ConfigurationError(
                    f"'{initial_weights}' is another network than preset '{preset}': start from one of its own"
                )
            self.network.load_state_dict(start.state_dict())
        if isinstance(self.network.image_encoder, ConvImageEncoder):
            self.network.image_encoder.freeze_stages(frozen_stages)
        elif frozen_stages:
            raise ConfigurationError(f"frozen_stages {frozen_stages}: only a convolutional encoder has stages, leave it 0")
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1), persistent=False)
        self.learned_context = self._build_context(context_tokens, pretrained) if context_tokens else None
        self.mask2former_loss = Mask2FormerLoss()
        self._confusions: list[ConfusionMatrix] = []

    def _build_context(self, num_tokens: int, pretrained: str | None) -> LearnedContext:
        config = self.network.config
        if config.pixel_text is None or pretrained is None or not self.network.image_encoder.embedding_width:
            raise ConfigurationError(
                f"context_tokens need a CLIP network with pixel_text and its weights, '{config.name}' with pretrained "
                f"'{pretrained}' has not all of them: leave context_tokens 0"
            )
        model = config.image_encoder.model
        weights = pretrained if Path(pretrained).suffix else str(pretrained_path(model, pretrained))
        return LearnedContext(model, weights, config.classes.names, num_tokens)

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
        losses = self.losses(output, batch.codes.long())
        total = torch.stack(list(losses.values())).sum()
        self.log_dict({f"loss/{name}": value for name, value in losses.items()})
        self.log("loss", total, prog_bar=True)
        return total

    def losses(self, output: VltsegOutput, codes: Tensor) -> dict[str, Tensor]:
        """Each weighted loss by name. Codes int64 [B, H, W]."""
        losses = self._query_losses(output, codes)
        pixel_text = self.network.config.pixel_text
        if output.score_map is not None and pixel_text is not None:
            logits = output.score_map / pixel_text.temperature
            codes_embedding = resize_codes(codes, (logits.shape[-2], logits.shape[-1]))
            ptm = code_cross_entropy(code_log_probabilities(logits), codes_embedding)
            losses["ptm"] = self.ptm_weight * ptm
        return losses

    def _query_losses(self, output: VltsegOutput, codes: Tensor) -> dict[str, Tensor]:
        if output.predictions[-1].class_logits is not None:
            num_classes = len(self.network.config.classes)
            return self.mask2former_loss(output.predictions, [segments_of(image, num_classes) for image in codes])
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

    def validation_step(self, labelled: LabelledImage, batch_index: int, dataloader_idx: int = 0) -> None:
        images = torch.from_numpy(labelled.image).permute(2, 0, 1)[None].to(self.device)
        output = self.network(self.normalise(images))
        scores = semantic_scores(output.predictions[-1], (images.shape[-2], images.shape[-1]))
        train_ids = scores.argmax(1)[0].to(torch.uint8).cpu().numpy()
        evaluation_set = list(self._evaluation_sets.values())[dataloader_idx]
        self._confusions[dataloader_idx].add(evaluation_set.to_truth_classes[train_ids], labelled.codes)

    def on_validation_epoch_end(self) -> None:
        names = list(self._evaluation_sets)
        scores = {n: c.mean_iou() for n, c in zip(names, self._confusions, strict=True) if c.num_images}
        self.log_dict({f"miou/{name}": 100 * score for name, score in scores.items()}, prog_bar=True)
        self.log("miou/mean", 100 * float(np.mean(list(scores.values()))))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        contexts: list[dict[str, Any]] = []
        if self.learned_context is not None:
            contexts = [{"params": [self.learned_context.context], "lr": self.learning_rate, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(
            [*parameter_groups(self.network, self.learning_rate, self.encoder_rate_factor, self.weight_decay), *contexts]
        )
        num_steps = self.trainer.estimated_stepping_batches

        def rate(step: int) -> float:
            if step < self.warm_up_steps:
                return (step + 1) / self.warm_up_steps
            return (1 - (step - self.warm_up_steps) / max(1, num_steps - self.warm_up_steps)) ** 0.9

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(
    network: Vltseg, learning_rate: float, encoder_rate_factor: float, weight_decay: float
) -> Sequence[dict[str, Any]]:
    """AdamW's groups: the encoder at its own rate; no decay on norms, biases, position, level and query embeddings."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and "embed" not in name and "query_" not in name.rpartition(".")[0]
        groups.setdefault((name.startswith("image_encoder."), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (encoder_rate_factor if in_encoder else 1.0),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), parameters in groups.items()
    ]
