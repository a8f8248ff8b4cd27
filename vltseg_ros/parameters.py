# SPDX-License-Identifier: Apache-2.0
"""Every ROS parameter of the node: declared here once, read into one frozen object."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vltseg_core.errors import ConfigurationError

_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")


def _parameter(
    default: Any, description: str, *, low: float | None = None, high: float | None = None, live: bool = False,
    at_start: bool = False, choices: tuple[str, ...] = (),
) -> Any:  # fmt: skip
    """A field with what its descriptor says. live: may change while the node is configured. at_start: never changes."""
    described = {
        "description": description, "low": low, "high": high, "live": live, "at_start": at_start, "choices": choices
    }  # fmt: skip
    return dataclasses.field(default_factory=lambda: default, metadata=described)


@dataclass(frozen=True)
class NodeParameters:
    """The node's settings."""

    checkpoint: str = _parameter("tiny", "Weights: a .safetensors file, tiny, or the name of a fetched checkpoint.")
    device: str = _parameter("auto", "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    precision: str = _parameter("auto", "auto (fp16 on a GPU), fp32, fp16 or bf16.", choices=("auto", "fp32", "fp16", "bf16"))
    backend: str = _parameter(
        "auto",
        "auto (the best that works), eager, compile (torch.compile), tensorrt or onnxruntime; all but eager want an input size.",
        choices=("auto", "eager", "compile", "tensorrt", "onnxruntime"),
    )
    engine_cache: str = _parameter("", "Folder of engines, writable by its owner alone. Empty: engines in VLTSEG_CACHE.")
    allow_build: bool = _parameter(True, "Build an engine that is missing, stale or damaged; false: refuse to run without.")
    serve_while_building: bool = _parameter(False, "Serve with the eager network meanwhile; false: frames are rejected.")
    input_height: int = _parameter(0, "Height in pixels that images enter with; 0: their own.", low=0, high=8192)
    input_width: int = _parameter(0, "Width in pixels that images enter with; 0: their own.", low=0, high=8192)
    max_input_pixels: int = _parameter(
        -1,
        "Larger images enter with so many pixels, ratio kept, unless a size is set; 0: as they are; -1: the checkpoint's own.",
        low=-1,
        high=100_000_000,
    )
    window_px: int = _parameter(
        -1,
        "Side of the square window that slides over larger images; 0: whole images; -1: the checkpoint's own.",
        low=-1,
        high=8192,
    )
    cameras: tuple[str, ...] = _parameter(
        ("",), "Camera names; each has its topics under its name. Empty: one camera on the topic image."
    )
    image_transport: str = _parameter(
        "raw", "raw (sensor_msgs/Image) or compressed (CompressedImage on image/compressed).", choices=("raw", "compressed")
    )
    max_image_megapixels: float = _parameter(
        17.0,
        "Larger images are rejected: one that takes the network over inference_timeout_s would look like a hang.",
        low=0.001,
        high=68.0,
        live=True,
    )
    max_batch_size: int = _parameter(8, "Most cameras' frames that enter the network together.", low=1, high=64)
    min_confidence: float = _parameter(0.0, "Pixels less certain than this get label 255.", low=0.0, high=1.0, live=True)
    overlay_opacity: float = _parameter(0.55, "How much the colours cover the image.", low=0.0, high=1.0, live=True)
    max_frame_age_s: float = _parameter(
        0.0, "Frames with an older stamp are dropped, by the node's clock; 0: never.", low=0.0, high=3600.0, live=True
    )
    input_timeout_s: float = _parameter(
        5.0, "Warn after so long without a frame, and say which publishers there are; 0: never.", low=0.0, high=3600.0, live=True
    )
    input_health: bool = _parameter(
        True,
        "Warn of covered, dark, white, blurred, frozen and suddenly changed images, and publish a lower confidence for them.",
        live=True,
    )
    black_box_path: str = _parameter("", "Folder for recordings (mcap) of the last frames before an error. Empty: none.")
    black_box_frames: int = _parameter(30, "Most frames in a recording, all cameras together.", low=1, high=10000)
    black_box_mb: int = _parameter(256, "Most megabytes of a recording; memory for it is up to twice as much.", low=1, high=16384)
    black_box_recordings: int = _parameter(10, "Recordings that are kept; the oldest go.", low=1, high=1000)
    inference_timeout_s: float = _parameter(
        30.0,
        "A network that takes longer for a batch hangs: it is left to itself and loaded anew; 0: never.",
        low=0.0,
        high=3600.0,
        live=True,
    )
    diagnostics_period_s: float = _parameter(1.0, "Seconds between messages on /diagnostics.", low=0.1, high=60.0, at_start=True)
    autostart: bool = _parameter(
        True,
        "Configure and activate at start, end with exit code 1 where that or the network fails; false: be managed.",
        at_start=True,
    )
    stop_with_parent: bool = _parameter(
        False, "End when the process that started the node ends (as a launch that is killed).", at_start=True
    )

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras' names; one empty name stands for the single camera without a name."""
        return tuple(name for name in self.cameras if name) or ("",)

    @property
    def max_pixels(self) -> int:
        """How many pixels an image may have."""
        return round(self.max_image_megapixels * 1e6)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels that images are resized to, or None for their own, see `max_input_pixels`."""
        return (self.input_height, self.input_width) if self.input_height else None

    def __post_init__(self) -> None:
        if (self.input_height > 0) != (self.input_width > 0):
            raise ConfigurationError(
                f"input_height {self.input_height} and input_width {self.input_width}: set both, or leave both 0"
            )
        names = self.camera_names
        wrong = [n for n in names if n and not _CAMERA_NAME.fullmatch(n)]
        if wrong:
            raise ConfigurationError(f"camera name '{wrong[0]}' is no ROS name: use letters, digits and _, such as front_left")
        if len(set(names)) < len(names):
            raise ConfigurationError(f"cameras {list(names)} name one camera twice: give each its own name")
        for spec in dataclasses.fields(self):
            choices, value = spec.metadata["choices"], getattr(self, spec.name)
            if choices and value not in choices:
                raise ConfigurationError(f"{spec.name} '{value}' is not known: use {', '.join(choices)}")


_SPECS = {spec.name: spec for spec in dataclasses.fields(NodeParameters)}


def declare(node: Node) -> None:
    """Declare every parameter with its default, description and range."""
    for name, spec in _SPECS.items():
        default = spec.default_factory()  # type: ignore[misc]  # every field has one
        node.declare_parameter(name, list(default) if isinstance(default, tuple) else default, _descriptor(spec))


def read(node: Node) -> NodeParameters:
    """The parameters as they are now; raises ConfigurationError where they contradict each other."""
    return NodeParameters(**{name: _value(node, name) for name in _SPECS})


def check_change(current: NodeParameters | None, parameters: Iterable[Parameter]) -> SetParametersResult:
    """Whether these may be set now. current: the settings in use, None while the node is not configured."""
    changed = {p.name: _plain(p.value) for p in parameters if p.name in _SPECS}
    for name in changed:
        if current is not None and not _SPECS[name].metadata["live"]:
            return SetParametersResult(
                successful=False, reason=f"{name} cannot change while the node is configured: deactivate and clean it up first"
            )
    if current is not None:
        try:
            dataclasses.replace(current, **changed)
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def updated(current: NodeParameters, parameters: Iterable[Parameter]) -> NodeParameters:
    """The settings with those parameters changed."""
    return dataclasses.replace(current, **{p.name: _plain(p.value) for p in parameters if p.name in _SPECS})


def _value(node: Node, name: str) -> Any:
    try:
        return _plain(node.get_parameter(name).value)
    except ParameterUninitializedException:  # an empty list in a YAML file has no type
        return _SPECS[name].default_factory()  # type: ignore[misc]  # every field has one


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _descriptor(spec: dataclasses.Field[Any]) -> ParameterDescriptor:
    metadata = spec.metadata
    descriptor = ParameterDescriptor(description=metadata["description"], read_only=metadata["at_start"])
    if metadata["choices"]:
        descriptor.additional_constraints = f"one of {', '.join(metadata['choices'])}"
    if not (metadata["live"] or metadata["at_start"]):
        descriptor.additional_constraints += "; " * bool(descriptor.additional_constraints) + "fixed while configured"
    low, high = metadata["low"], metadata["high"]
    if isinstance(low, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
