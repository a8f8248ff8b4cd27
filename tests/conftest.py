# SPDX-License-Identifier: Apache-2.0
"""What every test may count on."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator

import pytest

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # else PyTorch's threads spin for a core, here and in processes that tests start
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
for _name in ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):  # they change what the command's help looks like
    os.environ.pop(_name, None)

PROGRAM_START = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def pytest_configure(config: pytest.Config) -> None:
    """A shell starts its background jobs deaf to SIGINT, and children inherit it: tests that interrupt could not.

    Logs and caches of the tests lie in a folder of their own, whether there is a home or not.
    """
    for number, handler in PROGRAM_START.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PROGRAM_START)
    if not hasattr(config, "workerinput"):  # workers inherit it
        kept = tempfile.TemporaryDirectory(prefix="vltseg-tests-", ignore_cleanup_errors=True)
        config.add_cleanup(kept.cleanup)
        os.environ["ROS_LOG_DIR"], os.environ["VLTSEG_CACHE"] = f"{kept.name}/log", f"{kept.name}/cache"
    config.addinivalue_line("markers", "fidelity: compares with a reference and notes the difference for docs/fidelity.md")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that notes a difference gets the mark."""
    for item in items:
        if "fidelity" in getattr(item, "fixturenames", ()):
            item.add_marker("fidelity")


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """A node's main leaves its process deaf to signals in the end; the next test's children would inherit it."""
    before = {number: signal.getsignal(number) for number in PROGRAM_START}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def fidelity(record_property: Callable[[str, object], None]) -> Callable[[str, str, float], None]:
    """Notes a part's largest difference from its reference; benchmarks/fidelity.py makes docs/fidelity.md of these notes."""

    def note(part: str, reference: str, largest_difference: float) -> None:
        record_property("fidelity", f"{part}|{reference}|{largest_difference:.1e}")

    return note
