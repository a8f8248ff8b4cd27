# SPDX-License-Identifier: Apache-2.0
"""A fleet's bags as tasks of Ray, on this machine or on a cluster. The one file that imports Ray (extra `cluster`)."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from vltseg_core.errors import ConfigurationError
from vltseg_ros.fleet_evaluation import OnShare
from vltseg_ros.fleet_task import FleetAnswer, FleetTask, evaluate_task

LOCAL = "local"
NUM_RETRIES = 2
"""How often a bag is tried again whose worker died."""
_LOSSLESS_CPUS, _REAL_TIME_CPUS = 1, 4  # beside a GPU
_THREADS = "OMP_NUM_THREADS"
_POLL_S = 1.0
_STOPPING_S = 20.0
_CONNECTING_S = 10.0


def require_ray() -> None:
    """Raise ConfigurationError where Ray is missing."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(f"Ray is missing ({error}): install it with pip install 'vltseg_ros[cluster]'") from error


class RayRunner:
    """Evaluates bags on a Ray cluster, a `Runner` for `evaluate_fleet`.

    address: `local` starts Ray on this machine for the length of the run; `auto`, HOST:PORT or ray://HOST:PORT go to a
    cluster that runs. A bag takes a GPU where the cluster has any (unless the device is cpu), and num_cpus processors. By
    default that is, beside a GPU, 1 lossless and 4 in real time; without one what the network takes, so that bags do not
    slow each other: OMP_NUM_THREADS if it is set, else the largest machine's. A bag whose worker or machine dies is tried
    again. Raises ConfigurationError where there is no such cluster.
    """

    def __init__(self, address: str, num_cpus: int | None = None) -> None:
        require_ray()
        self._address, self._num_cpus = address, num_cpus

    def __call__(self, tasks: Sequence[FleetTask], on_share: OnShare) -> Iterator[FleetAnswer]:
        """The answers in the order in which they come."""
        import ray

        with _connected(self._address):
            board = ray.remote(ProgressBoard).options(num_cpus=0, max_restarts=-1).remote()
            remote = ray.remote(evaluate_on_worker).options(
                max_retries=NUM_RETRIES, **_resources(tasks[0], self._num_cpus, ray.nodes())
            )
            threads = os.environ.get(_THREADS)
            running = {remote.remote(task, board, threads): task for task in tasks}
            try:
                while running:
                    done, _ = ray.wait(list(running), timeout=_POLL_S)
                    for reference in done:
                        yield _answer(running.pop(reference), reference)
                    _show(board, {task.name for task in running.values()}, on_share)
            finally:
                _cancel(list(running))


class ProgressBoard:
    """A Ray actor where workers write how far they are."""

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}

    def write(self, name: str, share: float) -> None:
        """So much of this bag is done."""
        self._shares[name] = share

    def read(self) -> dict[str, float]:
        """How much of each bag is done."""
        return self._shares


def evaluate_on_worker(task: FleetTask, board: Any, threads: str | None) -> FleetAnswer:
    """What a worker does with a task; `board` is the handle of a `ProgressBoard`.

    threads: OMP_NUM_THREADS as it is without Ray, which sets its own: sums in another order would give other last digits.
    """
    from vltseg_ros.ros_installation import require_ros

    os.environ.pop(_THREADS, None)
    if threads is not None:
        os.environ[_THREADS] = threads
    written_s = 0.0

    def on_share(share: float) -> None:
        nonlocal written_s
        if time.monotonic() > written_s + _POLL_S:
            written_s = time.monotonic()
            board.write.remote(task.name, share)

    try:
        require_ros()
    except ConfigurationError as error:
        return FleetAnswer(task.name, None, str(error))
    return evaluate_task(task, on_share)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        _require_listener(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, ValueError, RuntimeError, ImportError, ray.exceptions.RayError) as error:
        raise ConfigurationError(
            f"no Ray cluster answers at '{address}' ({' '.join(str(error).split())}): start one with ray start --head, or "
            "give --ray local"
        ) from error
    try:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own there
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    match = re.fullmatch(r"(?:ray://)?(?P<host>[^:/]+):(?P<port>\d+)", address)
    if match:
        socket.create_connection((match["host"], int(match["port"])), timeout=_CONNECTING_S).close()


def _resources(task: FleetTask, num_cpus: int | None, machines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What one bag takes; raises ConfigurationError where no machine has that much, which would wait for ever."""
    replay = task.settings.replay
    offers = [machine["Resources"] for machine in machines if machine["Alive"]]
    num_gpus = int(replay.device != "cpu" and any(offer.get("GPU", 0) >= 1 for offer in offers))
    if num_gpus and replay.device is not None and ":" in replay.device:
        raise ConfigurationError(f"--device {replay.device} names one GPU, and Ray gives each bag its own: give --device cuda")
    most = max((int(offer.get("CPU", 0)) for offer in offers if offer.get("GPU", 0) >= num_gpus), default=0)
    if num_cpus is None:
        wanted = (_LOSSLESS_CPUS if replay.lossless else _REAL_TIME_CPUS) if num_gpus else _num_threads() or most
        num_cpus = max(1, min(wanted, most))
    if num_cpus > most:
        raise ConfigurationError(f"no machine of the Ray cluster has {num_cpus} CPUs for a bag: give --bag-cpus {most} or less")
    return {"num_cpus": num_cpus, "num_gpus": num_gpus}


def _num_threads() -> int | None:
    """How many threads a network on processors is to take, where the environment says."""
    given = os.environ.get(_THREADS, "")
    return int(given) if given.isdecimal() else None


def _answer(task: FleetTask, reference: Any) -> FleetAnswer:
    """What the worker said, or what Ray says became of it."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return FleetAnswer(task.name, None, f"its task failed: {type(error.cause).__name__}: {error.cause}")
    except ray.exceptions.RayError as error:
        first_line = next(iter(str(error).strip().splitlines()), "")
        return FleetAnswer(task.name, None, f"its worker died {1 + NUM_RETRIES} times ({type(error).__name__}: {first_line})")


def _show(board: Any, names: set[str], on_share: OnShare) -> None:
    """Pass on how far the running bags are; no matter if the board cannot be asked just now."""
    import ray

    with suppress(ray.exceptions.RayError):
        for name, share in ray.get(board.read.remote(), timeout=_POLL_S).items():
            if name in names:
                on_share(name, share)


def _cancel(references: list[Any]) -> None:
    """End what runs in order: a worker sees KeyboardInterrupt and ends its node."""
    import ray

    if references:
        with suppress(ray.exceptions.RayError):
            for reference in references:
                ray.cancel(reference)
            ray.wait(references, num_returns=len(references), timeout=_STOPPING_S)
