# SPDX-License-Identifier: Apache-2.0
"""What every test may count on."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A shell starts its background jobs deaf to SIGINT, and children inherit it: tests that interrupt could not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "fidelity: compares with a reference and notes the difference for docs/fidelity.md")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that notes a difference gets the mark."""
    for item in items:
        if "fidelity" in getattr(item, "fixturenames", ()):
            item.add_marker("fidelity")


@pytest.fixture
def fidelity(record_property: Callable[[str, object], None]) -> Callable[[str, str, float], None]:
    """Notes a part's largest difference from its reference; benchmarks/fidelity.py makes docs/fidelity.md of these notes."""

    def note(part: str, reference: str, largest_difference: float) -> None:
        record_property("fidelity", f"{part}|{reference}|{largest_difference:.1e}")

    return note
