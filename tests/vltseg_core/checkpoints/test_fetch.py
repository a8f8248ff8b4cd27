# SPDX-License-Identifier: Apache-2.0
"""What is fetched from a local server is converted, once; what goes wrong costs no bytes and jams no later try."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vltseg_core.checkpoints import native, published
from vltseg_core.checkpoints.cache import accept_licence
from vltseg_core.checkpoints.exclusive import exclusively
from vltseg_core.checkpoints.fetch import fetch
from vltseg_core.checkpoints.pretrained_files import (
    PretrainedWeights,
    fetch_pretrained,
    pretrained_path,
    pretrained_weights,
)
from vltseg_core.checkpoints.published_models import LICENCE
from vltseg_core.config import PRESETS
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.model.image_encoder import pretrained_file

NOBODY = "http://127.0.0.1:9/none"
EVA = PretrainedWeights("EVA02-B-16", "merged2b_s8b_b131k")


@pytest.fixture
def get(server: Any, tmp_path: Path, waits: list[float]) -> Callable[..., Path]:
    """Fetches cityscapes_1 from the server, its licence accepted."""
    accept_licence(tmp_path, LICENCE)

    def get(record_url: str = server.record_url) -> Path:
        return fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url=record_url, pause=waits.append)

    return get


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "licences_accepted")


def test_a_fetched_checkpoint_is_converted_once(server: Any, get: Any, tmp_path: Path) -> None:
    weights = get()
    restored = native.load(weights)
    assert "Cityscapes, 20,000 iterations" in restored.trained_on and "CC BY-NC 4.0" in restored.trained_on
    assert left_in(tmp_path) == [weights.name]
    assert get(NOBODY) == weights and len(server.ranges) == 1


def test_the_licence_comes_first(server: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"CC BY-NC 4.0 .*--accept-license"):
        fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url=server.record_url)
    assert server.ranges == []


def test_without_a_connection_the_sentence_names_the_file_and_the_folder(server: Any, get: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"cannot be reached.*Without a connection, put {server.name} into '{tmp_path}'"):
        get(NOBODY)
    (tmp_path / server.name).write_bytes(server.whole)
    assert native.load(get(NOBODY))
    assert (tmp_path / server.name).read_bytes() == server.whole


def test_a_busy_server_is_no_missing_connection(server: Any, get: Any, tmp_path: Path) -> None:
    server.refusals = [(503, {})] * 4
    with pytest.raises(CheckpointError, match=f"the server answers 503.*; or put {server.name} into '{tmp_path}'") as raised:
        get()
    assert "connection" not in str(raised.value)


def test_a_download_that_is_no_checkpoint_is_deleted_and_fetched_anew(server: Any, get: Any, tmp_path: Path) -> None:
    whole = server.whole
    server.serve(b"<html>" * 1000)
    with pytest.raises(CheckpointError, match="cannot be read as plain weights.*what was downloaded is deleted"):
        get()
    assert left_in(tmp_path) == []
    server.serve(whole)
    assert native.load(get())


def test_a_user_s_own_file_that_is_no_checkpoint_is_left_alone(server: Any, get: Any, tmp_path: Path) -> None:
    (tmp_path / server.name).write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"cannot be read as plain weights.*its publisher$"):
        get()
    assert (tmp_path / server.name).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("step", "breaks"),
    [
        ((published, "convert"), KeyboardInterrupt()),
        ((published, "convert"), OSError(errno.ENOSPC, "full")),
        ((native, "save"), KeyboardInterrupt()),
        ((native, "save"), CheckpointError("weights could not be written")),
    ],
)
def test_a_conversion_that_is_stopped_goes_on_with_what_was_downloaded(
    server: Any, get: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], breaks: BaseException
) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise breaks

    with monkeypatch.context() as patch:
        patch.setattr(*step, stop)
        with pytest.raises(type(breaks)):
            get()
    assert left_in(tmp_path) == [f".{server.name}.download"]
    weights = get(NOBODY)
    assert native.load(weights) and left_in(tmp_path) == [weights.name] and len(server.ranges) == 1


def test_a_second_fetch_of_the_same_says_that_the_first_is_at_it(server: Any, get: Any, tmp_path: Path) -> None:
    with (
        exclusively(tmp_path / "cityscapes_1.safetensors"),
        pytest.raises(CheckpointError, match="is being fetched by another vltseg: wait for its end"),
    ):
        get()
    assert server.ranges == []
    assert native.load(get())


def test_a_second_fetch_of_the_same_clip_weights_says_so_too(server: Any, tmp_path: Path) -> None:
    path, _ = fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
    path.unlink()
    with exclusively(path), pytest.raises(CheckpointError, match="is being fetched by another vltseg"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)


def test_a_lock_that_its_holder_has_just_deleted_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def delete(file: Any, operation: int) -> None:
        (tmp_path / ".w.lock").unlink()

    monkeypatch.setattr("fcntl.flock", delete)
    with pytest.raises(CheckpointError, match="another vltseg"), exclusively(tmp_path / "w"):
        pass


def test_an_unknown_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'adcd_1': did you mean 'acdc_1'\?"):
        fetch("adcd_1", tmp_path, lambda done, total: None)


def test_clip_weights_come_from_the_hub_by_its_own_checksum(server: Any, tmp_path: Path, waits: list[float]) -> None:
    server.cut_after = len(server.whole) // 3
    path, licence = fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url, pause=waits.append)
    assert (path.read_bytes(), licence) == (server.whole, "mit")
    assert path == pretrained_path(*EVA, tmp_path)
    num_requests = len(server.ranges)
    assert fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url="http://127.0.0.1:9")[0] == path
    assert len(server.ranges) == num_requests


def test_damaged_clip_weights_never_get_their_name(server: Any, tmp_path: Path) -> None:
    server.content = server.whole[:-1] + b"x"
    with pytest.raises(CheckpointError, match=r"deleted; run the command again.*put open_clip_model.safetensors of https://"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_a_licence_that_restricts_use_is_asked_for_once(server: Any, tmp_path: Path) -> None:
    server.licence = "apple-amlr"
    with pytest.raises(ConfigurationError, match=r"licensed 'apple-amlr' .*--accept-license"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
    assert server.ranges == []
    fetch_pretrained(EVA, tmp_path, lambda done, total: None, accept_license=True, hub_url=server.url)
    other = PretrainedWeights("EVA02-L-14", "merged2b_s4b_b131k")
    assert fetch_pretrained(other, tmp_path, lambda done, total: None, hub_url=server.url)[0].is_file()


def test_names_of_presets_and_of_open_clip_are_understood() -> None:
    assert pretrained_weights("eva02_clip_b") == EVA
    assert pretrained_weights("ViT-L-14/laion2b_s32b_b82k") == ("ViT-L-14", "laion2b_s32b_b82k")
    assert pretrained_weights("cityscapes_1") is None


def test_every_preset_of_a_clip_has_weights_on_the_hub() -> None:
    for name, config in PRESETS.items():
        if name != "tiny":
            weights = pretrained_weights(name)
            assert weights is not None and weights.model == config.image_encoder.model
            assert pretrained_file(*weights).repository.startswith("timm/")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"siblings": [3]}', b'{"siblings": [{"lfs": {"size": 1}}]}'])
def test_a_hub_that_makes_no_sense_is_said(server: Any, answer: bytes, tmp_path: Path) -> None:
    server.record = answer
    with pytest.raises(CheckpointError, match=r"gives no list of files.*put open_clip_model.safetensors of https://"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
