# SPDX-License-Identifier: Apache-2.0
"""What every self-contained HTML page shares: templates, the look of figures, pictures inside the page."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray
from PIL import Image

_MAX_PANEL_WIDTH_PX = 720


class Panel(NamedTuple):
    """One picture of a row: what it shows, and the pixels, uint8 [H, W, 3] RGB."""

    name: str
    picture: NDArray[np.uint8]


class PictureRow(NamedTuple):
    """Pictures of one moment, side by side: camera image, overlay and, where there is one, ground truth."""

    caption: str
    panels: tuple[Panel, ...]
    kind: str = ""
    """What it was chosen for, as a heading."""


def page_template(name: str) -> Template:
    """A template of this package with the filters embed, percent, ms, hz, seconds and css."""
    environment = Environment(
        loader=PackageLoader("vltseg_core.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(embed=_embed, percent=percent, ms=_milliseconds, hz=_hertz, seconds=_seconds, css=_css_colour)
    return environment.get_template(name)


def percent(value: float) -> str:
    """A share of 0 to 1 in percent, with a dash for NaN."""
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def _seconds(value: float) -> str:
    return "–" if np.isnan(value) else f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def _milliseconds(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f} ms"


def _hertz(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f} Hz"


def _css_colour(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _embed(picture: NDArray[np.uint8]) -> str:
    """The picture as a JPEG in a data URI, at most 720 px wide."""
    image = Image.fromarray(picture)
    image.thumbnail((_MAX_PANEL_WIDTH_PX, 4 * _MAX_PANEL_WIDTH_PX))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
