# SPDX-License-Identifier: Apache-2.0
"""A compiled network takes images of its own size; the eager one serves the others, which is said and shown."""

from __future__ import annotations

import pytest
import torch

from tests.vltseg_core.runtime.networks import run_time_network, small_config
from vltseg_core.runtime.network_runner import NetworkRunner, ReadyBackend
from vltseg_core.runtime.run_time_network import NetworkShape

SIZE = (64, 96)
SHAPE = NetworkShape(2, *SIZE)


def test_images_of_another_size_go_to_the_eager_network_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    network = run_time_network(small_config())
    runner = NetworkRunner(network, ReadyBackend("compile", "made", network, SHAPE))
    runner(torch.zeros(2, 3, *SIZE))
    assert runner.reason == "made"
    for _ in range(2):
        runner(torch.zeros(1, 3, 64, 64))
    assert runner.reason == "made; images of 64x64 by the eager network"
    assert [record.message for record in caplog.records].count(
        "images of 64x64 go to the eager network: compile was made for 2 x 96x64"
    ) == 1


def test_of_many_other_sizes_a_few_are_named(caplog: pytest.LogCaptureFixture) -> None:
    network = run_time_network(small_config())
    runner = NetworkRunner(network, ReadyBackend("compile", "made", network, SHAPE))
    for width in range(32, 32 * 14, 32):
        runner(torch.zeros(1, 3, 32, width))
    assert runner.reason.endswith("256x32, still other sizes by the eager network")
    assert sum("go to the eager network" in record.message for record in caplog.records) == 9


def test_what_is_compiled_gets_images_that_lie_as_its_example_did() -> None:
    network = run_time_network(small_config())
    seen: list[tuple[int, ...]] = []

    def compiled(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(images.stride())
        return network(images)

    runner = NetworkRunner(network, ReadyBackend("compile", "", compiled, NetworkShape(1, 64, 96)))
    large = torch.rand(1, 3, 100, 200)
    crops = [large[:, :, 3:67, x : x + 96] for x in (0, 5)] + [
        large.contiguous(memory_format=torch.channels_last)[:, :, :64, :96]
    ]
    with torch.inference_mode():
        for crop in crops:
            assert torch.allclose(runner(crop).mask_logits, network(crop)[0], atol=1e-4)
    assert set(seen) == {torch.empty(1, 3, 64, 96).to(memory_format=torch.channels_last).stride()}
