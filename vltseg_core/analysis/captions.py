# SPDX-License-Identifier: Apache-2.0
"""How often captions name weather, light or place: what a vision-language model can have learnt of domains by name."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.foreign_yaml import read_yaml

WORDS_FILE = Path(__file__).parent / "domain_words.yaml"
ANY = "any"
_EXCEPTIONS = "exceptions"
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NUM_EXAMPLES = 5


class Hit(NamedTuple):
    """One word that a caption has, by category and key."""

    category: str
    word: str


class DomainWords:
    """The word lists, ready to be looked for.

    forms: each form as tokens, with what it stands for; None for an exception, which only hides the words within it.
    """

    def __init__(self, forms: dict[tuple[str, ...], Hit | None], categories: tuple[str, ...]) -> None:
        self.categories = categories
        self._by_first: dict[str, list[tuple[tuple[str, ...], Hit | None]]] = {}
        for tokens, hit in forms.items():
            self._by_first.setdefault(tokens[0], []).append((tokens, hit))
        for candidates in self._by_first.values():
            candidates.sort(key=lambda candidate: -len(candidate[0]))

    @classmethod
    def read(cls, path: Path = WORDS_FILE) -> DomainWords:
        """Lists from YAML: category, then word, then forms; ConfigurationError where it is something else or not unique."""
        try:
            lists: Any = read_yaml(path)
            exceptions = [(form, None) for form in lists.pop(_EXCEPTIONS, None) or ()]
            named = [
                (form, Hit(category, word))
                for category, words in lists.items()
                for word, forms in words.items()
                for form in forms
            ]
            forms: dict[tuple[str, ...], Hit | None] = {}
            for form, hit in [*named, *exceptions]:
                tokens = tuple(_TOKEN.findall(form.lower()))
                if not tokens or tokens in forms:
                    raise ConfigurationError(f"word list '{path}' has '{form}' twice or empty: leave one out")
                forms[tokens] = hit
        except (OSError, InputError, AttributeError, TypeError) as error:
            raise ConfigurationError(f"word list '{path}' is not CATEGORY: {{WORD: [FORM, ...]}}: {error}") from error
        if not lists:
            raise ConfigurationError(f"word list '{path}' has no category: give CATEGORY: {{WORD: [FORM, ...]}}")
        return cls(forms, tuple(lists))

    def find(self, caption: str) -> set[Hit]:
        """The words that a caption names."""
        tokens = _TOKEN.findall(caption.lower())
        hits: set[Hit] = set()
        position = 0
        while position < len(tokens):
            length = 1
            for form, hit in self._by_first.get(tokens[position], ()):
                if tuple(tokens[position : position + len(form)]) == form:
                    length = len(form)
                    if hit is not None:
                        hits.add(hit)
                    break
            position += length
        return hits


class Share(NamedTuple):
    """A share of captions with its 95 % Wilson interval."""

    num_captions: int
    share: float
    low: float
    high: float


def wilson(count: int, total: int) -> Share:
    """count of total as a share. Source: Wilson, 1927; the score interval without continuity correction."""
    if not total:
        return Share(0, 0.0, 0.0, 1.0)
    z = 1.959963984540054
    share = count / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Share(count, share, max(0.0, centre - half) if count else 0.0, min(1.0, centre + half) if count < total else 1.0)


@dataclass
class CaptionCounts:
    """What was counted. examples: some captions of each category, each as likely to be shown as any other."""

    categories: tuple[str, ...]
    num_captions: int = 0
    num_empty: int = 0
    by_category: Counter[str] = field(default_factory=Counter)
    by_word: Counter[Hit] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def share(self, count: int) -> Share:
        """A number of captions as a share of all that are not empty."""
        return wilson(count, self.num_captions)

    @property
    def shares(self) -> dict[str, Share]:
        """The share by category, and of captions that name any domain."""
        return {category: self.share(self.by_category[category]) for category in (*self.categories, ANY)}

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, words by falling count."""
        words = {
            category: {h.word: self.share(n)._asdict() for h, n in self.by_word.most_common() if h.category == category}
            for category in self.categories
        }
        return {
            "captions": self.num_captions,
            "empty": self.num_empty,
            "shares": {category: share._asdict() for category, share in self.shares.items()},
            "words": words,
            "examples": self.examples,
        }


def count_captions(captions: Iterable[str], words: DomainWords, *, seed: int = 0) -> CaptionCounts:
    """Count which captions name weather, light or place, in one pass that keeps none but the examples."""
    counts = CaptionCounts(words.categories, examples={category: [] for category in words.categories})
    rng = random.Random(seed)
    for caption in captions:
        if not caption.strip():
            counts.num_empty += 1
            continue
        counts.num_captions += 1
        hits = words.find(caption)
        if not hits:
            continue
        counts.by_word.update(hits)
        counts.by_category[ANY] += 1
        for category in {hit.category for hit in hits}:
            counts.by_category[category] += 1
            _keep(counts.examples[category], caption.strip(), counts.by_category[category], rng)
    return counts


def _keep(examples: list[str], caption: str, num_seen: int, rng: random.Random) -> None:
    """Reservoir sampling."""
    if len(examples) < _NUM_EXAMPLES:
        examples.append(caption[:200])
    elif (place := rng.randrange(num_seen)) < _NUM_EXAMPLES:
        examples[place] = caption[:200]
