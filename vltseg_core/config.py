# SPDX-License-Identifier: Apache-2.0
"""What a network is, as frozen dataclasses, and the presets by name."""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, cast, get_type_hints

from vltseg_core.errors import ConfigurationError, quotable
from vltseg_core.labels import CITYSCAPES, CLASS_TABLES, ClassTable

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
SYMMETRIC_MEAN = SYMMETRIC_STD = (127.5, 127.5, 127.5)  # to [-1, 1], as TensorFlow's towers were trained
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)

RgbValues = tuple[float, float, float]
T = TypeVar("T")


@dataclass(frozen=True)
class ImageEncoderConfig:
    """The image tower.

    kind: "vit", or "conv" for a hierarchical tower.
    model: an open_clip architecture ("EVA02-L-14", "MobileCLIP2-S0") or a timm one ("deit3_large_patch16_224").
    tapped_blocks: the ViT blocks whose outputs make the feature pyramid, finest level first.
    drop_path: stochastic depth rate in training.
    attention_inner_norm: the LayerNorm before a ViT block's output projection (EVA-CLIP's sub-LN).
    joint_embedding: whether a CLIP tower has its norm and projection to the joint space, which pixel-text matching needs.
    trained_size: side in pixels of the square that the position embedding was trained for.
    partial_patches: what a ViT does with an image whose sides are no multiples of the patch: "resize" it up to the next
        ones, or "drop" the rest at the right and the bottom, as the published network does.
    overrides: further keyword arguments for the timm constructor; weights files hold those of `foreign_config.OVERRIDES` alone.
    """

    kind: Literal["vit", "conv"]
    model: str
    tapped_blocks: tuple[int, ...] = ()
    drop_path: float = 0.0
    attention_inner_norm: bool = True
    joint_embedding: bool = True
    trained_size: int = 224
    partial_patches: Literal["resize", "drop"] = "resize"
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PixelTextMatchingConfig:
    """The dense image embedding's comparison with the class embeddings (absent: `VltsegConfig.pixel_text` None).

    embedding_width: width of the class embeddings. temperature: tau.
    """

    embedding_width: int
    temperature: float = 0.07


@dataclass(frozen=True)
class PixelDecoderConfig:
    """From the feature pyramid to mask features and the mask decoder's memory.

    kind: "deformable" (Mask2Former's, as in the paper) or "fpn" (self-attention on the coarsest map alone, then
    separable convolutions from coarse to fine). width: channels of the memory; mask_width: of the mask features.
    """

    kind: Literal["deformable", "fpn"]
    width: int = 256
    mask_width: int = 256
    num_layers: int = 6
    num_heads: int = 8
    num_points: int = 4
    ffn_width: int = 1024
    num_groups: int = 32


@dataclass(frozen=True)
class MaskDecoderConfig:
    """From queries to masks.

    queries: "learned" (Mask2Former: `num_queries` of them, matched to segments by the Hungarian method) or "text"
    (one query a class, made from its class embedding and bound to that class, as in TQDM).
    class_masks: whether a text query's mask also has a part that is its class's own in every image, learned from the start;
    what the query reads in the image is added to it. Without it a small network learns more slowly.
    """

    queries: Literal["learned", "text"]
    num_queries: int = 100
    num_layers: int = 9
    num_heads: int = 8
    ffn_width: int = 2048
    class_masks: bool = False


@dataclass(frozen=True)
class FpnDecoderConfig:
    """DenseCLIP's semantic FPN in place of pixel and mask decoder.

    width: channels of its maps. with_score_map: whether the score map enters beside the stride-16 map (needs pixel_text).
    """

    width: int = 256
    dropout: float = 0.1
    with_score_map: bool = True


@dataclass(frozen=True)
class EncoderOnlyConfig:
    """EoMT: queries join a ViT's tokens in its last blocks, in place of pixel and mask decoder."""

    num_queries: int = 100
    num_blocks: int = 4


SMALLEST_MAX_INPUT_PIXELS = 32 * 32
"""The lowest `InferenceConfig.max_input_pixels` but 0."""


@dataclass(frozen=True)
class InferenceConfig:
    """How the network is used unless its user says otherwise.

    window_px: side of the square window that slides over larger images, 0 for whole images; window_step_px: its step.
    antialias: whether an image that is made smaller is low-pass filtered first. max_input_pixels: most pixels with which
    an image enters: a larger one is made smaller, its ratio kept, so that things keep to the sizes known from training; 0
    for any number.
    """

    window_px: int = 0
    window_step_px: int = 0
    antialias: bool = True
    max_input_pixels: int = 0


@dataclass(frozen=True)
class VltsegConfig:
    """A whole network: an encoder, and pixel_decoder with mask_decoder, or fpn_decoder, or encoder_only.

    mean and std: of RGB in 0..255. crop_size: side in pixels of the square that it is trained on.
    """

    name: str
    image_encoder: ImageEncoderConfig
    pixel_decoder: PixelDecoderConfig | None = None
    mask_decoder: MaskDecoderConfig | None = None
    fpn_decoder: FpnDecoderConfig | None = None
    encoder_only: EncoderOnlyConfig | None = None
    pixel_text: PixelTextMatchingConfig | None = None
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    class_table: str = CITYSCAPES.name
    crop_size: int = 512
    inference: InferenceConfig = field(default_factory=InferenceConfig)

    @property
    def classes(self) -> ClassTable:
        """The classes told apart."""
        return CLASS_TABLES[self.class_table]

    def __post_init__(self) -> None:
        _check_choice("class table", self.class_table, CLASS_TABLES)
        if (self.pixel_decoder is None) != (self.mask_decoder is None):
            raise ConfigurationError(f"network '{self.name}' has only one of pixel_decoder and mask_decoder: give both")
        decoders = [d for d in (self.mask_decoder, self.fpn_decoder, self.encoder_only) if d is not None]
        if len(decoders) != 1:
            raise ConfigurationError(
                f"network '{self.name}' has {len(decoders)} decoders: give pixel_decoder and mask_decoder, or fpn_decoder, "
                "or encoder_only"
            )
        if self.mask_decoder is not None and self.mask_decoder.class_masks and self.mask_decoder.queries != "text":
            raise ConfigurationError(
                f"network '{self.name}' has class_masks for queries that stand for no class: take text queries, or leave it out"
            )
        wants_text = (self.mask_decoder is not None and self.mask_decoder.queries == "text") or (
            self.fpn_decoder is not None and self.fpn_decoder.with_score_map
        )
        if wants_text and self.pixel_text is None:
            raise ConfigurationError(
                f"network '{self.name}' has text queries or a decoder fed with the score map, but no pixel_text section: add one"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for a checkpoint's header."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> VltsegConfig:
        """The inverse of `to_dict`; unknown keys raise ConfigurationError and name the nearest valid one."""
        return _build(cls, fields)


def _check_choice(what: str, value: str, choices: Mapping[str, Any]) -> None:
    if value not in choices:
        nearest = difflib.get_close_matches(value, choices, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"choose one of {', '.join(choices)}"
        raise ConfigurationError(f"unknown {what} '{quotable(value)}': {hint}")


def _build(cls: type[T], fields: Mapping[str, Any]) -> T:
    """An instance of dataclass `cls` from plain values, sections included."""
    if not isinstance(fields, Mapping):
        raise ConfigurationError(f"{cls.__name__} needs a mapping of its settings, not {quotable(reprlib.repr(fields))}")
    hints = get_type_hints(cls)
    known = {f.name: hints[f.name] for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass
    arguments: dict[str, Any] = {}
    for key, value in fields.items():
        _check_choice(f"key of {cls.__name__}", key, known)
        section = next((t for t in (known[key], *getattr(known[key], "__args__", ())) if dataclasses.is_dataclass(t)), None)
        if section is not None and value is not None:
            value = _build(cast(type[Any], section), value)
        arguments[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigurationError(f"{cls.__name__}: {error}") from error


_LARGE_BLOCKS, _BASE_BLOCKS = (9, 14, 19, 23), (3, 5, 8, 11)


def _mask2former(
    name: str,
    image_encoder: ImageEncoderConfig,
    *,
    embedding_width: int = 0,
    mean: RgbValues = CLIP_MEAN,
    std: RgbValues = CLIP_STD,
) -> VltsegConfig:
    """A network with the paper's decoder. embedding_width: of the text that it is matched to, 0 for none."""
    return VltsegConfig(
        name=name,
        image_encoder=image_encoder,
        pixel_decoder=PixelDecoderConfig("deformable"),
        mask_decoder=MaskDecoderConfig("learned"),
        pixel_text=PixelTextMatchingConfig(embedding_width) if embedding_width else None,
        mean=mean,
        std=std,
    )


def _large(model: str, **settings: Any) -> ImageEncoderConfig:
    return ImageEncoderConfig("vit", model, tapped_blocks=_LARGE_BLOCKS, drop_path=0.2, **settings)


def _base(model: str) -> ImageEncoderConfig:
    return ImageEncoderConfig("vit", model, tapped_blocks=_BASE_BLOCKS, drop_path=0.1)


_EVA02_L = _mask2former("eva02_clip_l", _large("EVA02-L-14"), embedding_width=768)

PRESETS: dict[str, VltsegConfig] = {
    config.name: config
    for config in (
        _EVA02_L,
        replace(_EVA02_L, name="eva02_clip_l_text_queries", mask_decoder=MaskDecoderConfig("text", num_queries=19)),
        replace(_EVA02_L, name="eva02_clip_l_fpn", pixel_decoder=None, mask_decoder=None, fpn_decoder=FpnDecoderConfig()),
        replace(
            _EVA02_L, name="eva02_clip_l_encoder_only", pixel_decoder=None, mask_decoder=None, encoder_only=EncoderOnlyConfig()
        ),
        _mask2former("eva02_clip_l_336", _large("EVA02-L-14-336", trained_size=336), embedding_width=768),
        _mask2former("eva02_clip_b", _base("EVA02-B-16"), embedding_width=512),
        _mask2former("clip_l", _large("ViT-L-14-quickgelu"), embedding_width=768),
        _mask2former("clip_b", _base("ViT-B-16-quickgelu"), embedding_width=512),
        _mask2former("deit3_l", _large("deit3_large_patch16_224"), mean=IMAGENET_MEAN, std=IMAGENET_STD),
        _mask2former("deit3_b", _base("deit3_base_patch16_224"), mean=IMAGENET_MEAN, std=IMAGENET_STD),
        _mask2former(
            "mobileclip2_s0",
            ImageEncoderConfig("conv", "MobileCLIP2-S0"),
            embedding_width=512,
            mean=(0.0, 0.0, 0.0),
            std=(255.0, 255.0, 255.0),
        ),
        VltsegConfig(
            name="tiny",
            image_encoder=ImageEncoderConfig("conv", "efficientnet_lite0", overrides={"bn_eps": 1e-3}),
            pixel_decoder=PixelDecoderConfig("fpn", width=128, mask_width=64, num_layers=2, num_heads=4, ffn_width=256),
            mask_decoder=MaskDecoderConfig("text", num_queries=19, num_layers=3, num_heads=4, ffn_width=256, class_masks=True),
            pixel_text=PixelTextMatchingConfig(embedding_width=384),
            mean=SYMMETRIC_MEAN,
            std=SYMMETRIC_STD,
            crop_size=320,
            inference=InferenceConfig(max_input_pixels=960 * 540),
        ),
    )
}
"""The networks that have a name."""
DEFAULT_PRESET = _EVA02_L.name
"""What is trained where nothing else is said: the paper's network."""


def preset(name: str) -> VltsegConfig:
    """The preset of that name; ConfigurationError names the nearest where there is none."""
    _check_choice("preset", name, PRESETS)
    return PRESETS[name]


def varied(config: VltsegConfig, changes: Mapping[str, Any]) -> VltsegConfig:
    """The network with some settings changed, sections nested as in `to_dict`; unknown keys raise ConfigurationError."""
    return VltsegConfig.from_dict(_merged(config.to_dict(), changes))


def _merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(fields)
    for key, change in changes.items():
        before = merged.get(key)
        merged[key] = _merged(before, change) if isinstance(before, Mapping) and isinstance(change, Mapping) else change
    return merged
