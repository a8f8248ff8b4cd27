# SPDX-License-Identifier: Apache-2.0
"""An engine can run code: it is loaded from a place that nobody else can change, and only as it was written."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from vltseg_core.checkpoints.cache import make_folder
from vltseg_core.errors import DeviceError
from vltseg_core.runtime.engine_cache import EngineCache, EngineIdentity, NoEngineError, require_private

IDENTITY = EngineIdentity("abc", {"name": "tiny"}, 1, 64, 64, "fp16", {}, {"torch": "2"})
as_root = pytest.mark.skipif(os.getuid() != 0, reason="giving files to another user needs root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "above" / "engines"
    make_folder(folder, 0o700)
    return folder


def kept(folder: Path) -> Path:
    with EngineCache(folder).building():
        return EngineCache(folder).keep(IDENTITY, {}, lambda path: path.write_bytes(b"engine") and None)


def test_an_engine_that_was_kept_is_found_and_its_owner_s_alone(folder: Path) -> None:
    engine = kept(folder)
    assert EngineCache(folder).find(IDENTITY)[0] == engine
    assert engine.stat().st_mode & 0o077 == 0 and engine.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
@pytest.mark.parametrize("place", [".", "..", "entry", "engine.ep", "engine.json"])
def test_a_place_that_others_can_change_is_refused(folder: Path, place: str, mode: int) -> None:
    entry = kept(folder).parent
    places = {".": folder, "..": folder.parent, "entry": entry}
    places.get(place, entry / place).chmod(mode)
    with pytest.raises(DeviceError, match="others can change"):
        EngineCache(folder).find(IDENTITY)


@pytest.mark.parametrize("name", ["../../escape", "/elsewhere/escape", "a\nb", "n" * 300])
def test_a_network_s_name_leads_nowhere_else(folder: Path, name: str) -> None:
    identity = replace(IDENTITY, config={"name": name})
    assert EngineCache(folder).keep(identity, {}, lambda path: path.write_bytes(b"engine") and None).parent.parent == folder


def test_nothing_is_read_in_a_folder_that_others_can_change(folder: Path) -> None:
    (folder / "entry").mkdir()
    os.mkfifo(folder / "entry" / "engine.json")  # reading it would wait for ever
    folder.chmod(0o777)
    with pytest.raises(DeviceError, match="others can change"):
        EngineCache(folder).find(IDENTITY)


def test_a_shared_folder_above_in_which_names_are_their_owners_is_allowed(folder: Path) -> None:
    kept(folder)
    folder.parent.chmod(0o1777)
    assert EngineCache(folder).find(IDENTITY)
    folder.chmod(0o1777)
    with pytest.raises(DeviceError, match="others can change"):
        EngineCache(folder).find(IDENTITY)


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(DeviceError, match="is a link"):
        require_private(tmp_path / "link")


def test_a_link_above_that_others_can_put_in_place_is_refused(folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "link").symlink_to(folder.parent)
    require_private(shared / "link" / "engines")
    shared.chmod(0o777)
    with pytest.raises(DeviceError, match="others can change"):
        require_private(shared / "link" / "engines")


@as_root
def test_what_belongs_to_another_user_is_refused(folder: Path, tmp_path: Path) -> None:
    engine = kept(folder)
    os.chown(engine, 12345, 12345)
    with pytest.raises(DeviceError, match="others can change"):
        EngineCache(folder).find(IDENTITY)
    os.chown(engine, 0, 0)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "link").symlink_to(folder.parent)
    os.chown(shared / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(DeviceError, match="others can change"):
        require_private(shared / "link" / "engines")


def test_an_engine_that_is_not_as_it_was_written_is_refused(folder: Path) -> None:
    engine = kept(folder)
    engine.write_bytes(b"Engine")
    with pytest.raises(NoEngineError, match="not the one that was written"):
        EngineCache(folder).find(IDENTITY)


@pytest.mark.parametrize("identity", [None, [1], "abc", {"versions": None}])
def test_an_identity_that_is_none_is_damage_and_hides_no_other_engine(folder: Path, identity: object) -> None:
    record = folder / kept(folder).parent.name / "engine.json"
    record.write_text(json.dumps({"sha256": "0", "identity": identity}))
    with pytest.raises(NoEngineError):
        EngineCache(folder).find(IDENTITY)
    with pytest.raises(NoEngineError, match="no engine in"):
        EngineCache(folder).find(replace(IDENTITY, batch=2))


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"sha256": 1}', "[" * 10_000])
def test_a_record_that_cannot_be_read_is_refused(folder: Path, record: str) -> None:
    (kept(folder).parent / "engine.json").write_text(record)
    with pytest.raises(NoEngineError, match="damaged"):
        EngineCache(folder).find(IDENTITY)


def test_what_a_killed_build_left_goes_and_is_never_the_nearest(folder: Path) -> None:
    engine = kept(folder)
    left = folder / ".partial-dead"
    left.mkdir()
    (left / "engine.json").write_text((engine.parent / "engine.json").read_text())
    engine.unlink()
    (engine.parent / "engine.json").unlink()
    engine.parent.rmdir()
    with pytest.raises(NoEngineError) as raised:
        EngineCache(folder).find(replace(IDENTITY, batch=2))
    assert "nearest" not in str(raised.value)
    with EngineCache(folder).building():
        assert not left.exists()


def test_a_second_builder_waits_for_the_first(folder: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with EngineCache(folder).building():
            order.append("second")

    thread = threading.Thread(target=second)
    with EngineCache(folder).building():
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_an_engine_takes_the_place_of_whatever_is_there(folder: Path) -> None:
    (folder / IDENTITY.folder_name).write_text("no folder")
    assert kept(folder).read_bytes() == b"engine"
    assert kept(folder).read_bytes() == b"engine"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", IDENTITY.folder_name]
