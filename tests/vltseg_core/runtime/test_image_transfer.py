# SPDX-License-Identifier: Apache-2.0
"""Images reach the device whole, whatever its copies and the next uploads do at the same time.

The stand-in for torch.cuda copies as late as CUDA may: when somebody waits for the copy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vltseg_core.errors import DeviceError, InputError
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.image_transfer import CudaTransfer, HostTransfer, UploadedImage, image_transfer


class LateStream:
    """Does its work when an event that was recorded after it is waited for."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def wait_event(self, event: LateEvent) -> None:
        event.synchronize()


class LateEvent:
    def __init__(self) -> None:
        self.stream: LateStream | None = None
        self.position = 0

    def record(self, stream: LateStream) -> None:
        self.stream, self.before = stream, list(stream.waiting)

    def query(self) -> bool:
        assert self.stream is not None
        return not any(work in self.stream.waiting for work in self.before)

    def synchronize(self) -> None:
        assert self.stream is not None
        for work in self.before:
            if work in self.stream.waiting:
                self.stream.waiting.remove(work)
                work()


class LateCuda:
    """CudaCalls without a GPU."""

    def __init__(self) -> None:
        self.compute = LateStream()
        self.now = self.compute
        self.num_pinned = 0
        self.kept: list[tuple[LateStream, int]] = []

    def new_stream(self) -> LateStream:
        return LateStream()

    def current_stream(self) -> LateStream:
        return self.now

    @contextmanager
    def on(self, stream: LateStream) -> Iterator[None]:
        before, self.now = self.now, stream
        yield
        self.now = before

    def new_event(self) -> LateEvent:
        return LateEvent()

    def pinned(self, num_bytes: int) -> Tensor:
        self.num_pinned += 1
        return torch.zeros(num_bytes, dtype=torch.uint8)

    def empty(self, shape: Sequence[int]) -> Tensor:
        return torch.zeros(tuple(shape), dtype=torch.uint8)

    def copy(self, source: Tensor, target: Tensor) -> None:
        self.now.waiting.append(lambda: target.copy_(source))

    def keep_for(self, stream: LateStream, tensor: Tensor) -> None:
        self.kept.append((stream, tensor.data_ptr()))


def image(seed: int, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def as_images(batch: Tensor) -> np.ndarray:
    return batch.permute(0, 2, 3, 1).numpy()


@pytest.fixture
def cuda() -> LateCuda:
    return LateCuda()


@pytest.fixture
def transfer(cuda: LateCuda) -> CudaTransfer:
    return CudaTransfer(cuda)  # type: ignore[arg-type]  # the stand-in


def test_a_late_copy_still_has_its_own_image(transfer: CudaTransfer) -> None:
    uploaded = [transfer.upload(image(n)) for n in range(20)]
    for n in reversed(range(20)):
        np.testing.assert_array_equal(as_images(transfer.batch([uploaded[n]]))[0], image(n))


def test_the_array_may_change_as_soon_as_its_upload_has_begun(transfer: CudaTransfer) -> None:
    reused = image(1)
    uploaded = transfer.upload(reused)
    reused[:] = 0
    np.testing.assert_array_equal(as_images(transfer.batch([uploaded]))[0], image(1))


def test_a_batch_waits_for_each_of_its_images_and_keeps_their_memory(transfer: CudaTransfer, cuda: LateCuda) -> None:
    uploaded = [transfer.upload(image(n)) for n in range(3)]
    batch = transfer.batch(uploaded)
    assert batch.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(as_images(batch), np.stack([image(n) for n in range(3)]))
    assert cuda.kept == [(cuda.compute, one.pixels.data_ptr()) for one in uploaded]


def test_pinned_memory_is_reused_once_its_copy_is_done_and_bounded_before(transfer: CudaTransfer, cuda: LateCuda) -> None:
    for n in range(10):
        transfer.batch([transfer.upload(image(n))])
    assert cuda.num_pinned == 1
    for n in range(30):
        transfer.upload(image(n))
    assert cuda.num_pinned <= 8


def test_pinned_memory_grows_with_the_images(transfer: CudaTransfer, cuda: LateCuda) -> None:
    for n, size in enumerate([(4, 6), (40, 60), (4, 6), (40, 60)]):
        uploaded = transfer.upload(image(n, size))
        np.testing.assert_array_equal(as_images(transfer.batch([uploaded]))[0], image(n, size))
    assert cuda.num_pinned == 2


def test_uploads_from_two_threads_do_not_mix(transfer: CudaTransfer) -> None:
    found: dict[int, UploadedImage] = {}

    def upload(numbers: range) -> None:
        for n in numbers:
            found[n] = transfer.upload(image(n, (30, 40)))

    threads = [threading.Thread(target=upload, args=(range(start, 40, 2),)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, uploaded in found.items():
        np.testing.assert_array_equal(as_images(transfer.batch([uploaded]))[0], image(n, (30, 40)))


def test_on_a_cpu_one_image_is_not_copied() -> None:
    transfer, pixels = image_transfer(torch.device("cpu")), image(0)
    assert isinstance(transfer, HostTransfer)
    batch = transfer.batch([transfer.upload(pixels)])
    assert batch.data_ptr() == pixels.ctypes.data and batch.shape == (1, 3, 4, 6)


@pytest.mark.parametrize("awkward", [image(0)[:, ::-1], image(0)[..., ::-1], np.frombuffer(bytes(72), np.uint8).reshape(4, 6, 3)])
def test_on_a_cpu_reversed_and_read_only_arrays_are_taken(awkward: Any, recwarn: pytest.WarningsRecorder) -> None:
    transfer = HostTransfer()
    np.testing.assert_array_equal(as_images(transfer.batch([transfer.upload(awkward)]))[0], awkward)
    assert not recwarn.list


def test_uploaded_images_give_the_arrays_results() -> None:
    segmenter = Segmenter.load("tiny", device="cpu")
    images = [image(0, (64, 96)), image(1, (48, 64)), image(2, (64, 96))]
    uploaded = [segmenter.upload(images[0]), images[1], segmenter.upload(images[2])]
    for one, other in zip(segmenter.segment(images), segmenter.segment(uploaded), strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.confidence, other.confidence)
    assert not segmenter.uploads_beside_the_network
    with pytest.raises(InputError, match="must be uint8"):
        segmenter.upload(images[0].astype(np.float32))
    segmenter.close()
    with pytest.raises(DeviceError, match="closed"):
        segmenter.upload(images[0])
