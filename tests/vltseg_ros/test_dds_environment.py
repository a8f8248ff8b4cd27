# SPDX-License-Identifier: Apache-2.0
"""A demo never meets a running robot on the network."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from vltseg_core.errors import ConfigurationError
from vltseg_ros import dds_environment
from vltseg_ros.dds_environment import isolated_dds


def test_the_domain_is_another_one_on_this_host_only_and_the_environment_comes_back(monkeypatch):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    monkeypatch.setenv("ROS_STATIC_PEERS", "192.0.2.1")
    before = dict(os.environ)
    seen = set()
    for _ in range(200):
        with isolated_dds() as domain_id:
            seen.add(domain_id)
            assert os.environ["ROS_DOMAIN_ID"] == str(domain_id)
            assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
            assert "ROS_STATIC_PEERS" not in os.environ
            assert Path(os.environ["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
        assert dict(os.environ) == before
    assert 7 not in seen and seen <= set(range(1, 102)) and len(seen) > 50


def test_older_distributions_get_the_names_that_they_know(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    with isolated_dds():
        assert os.environ["ROS_LOCALHOST_ONLY"] == "1"
        assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == os.environ["FASTDDS_DEFAULT_PROFILES_FILE"]


def test_no_two_replays_of_a_machine_have_the_same_domain(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    with ExitStack() as replays:
        ids = {replays.enter_context(isolated_dds()) for _ in range(30)}
        assert len(ids) == 30
        program = "from vltseg_ros.dds_environment import isolated_dds\nwith isolated_dds() as i: print(i)"
        for _ in range(3):
            other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            assert int(other.stdout) not in ids
        assert claims_of_this_process() == ids
    assert claims_of_this_process() == set()


def claims_of_this_process():
    """Other tests' processes may claim a domain as soon as this one gives it back, so only its own sockets count."""
    names = (str(connection.laddr) for connection in psutil.Process().net_connections(kind="unix"))
    return {int(name.rpartition("_")[2]) for name in names if name.startswith("@vltseg_dds_domain_")}


def test_where_every_domain_is_taken_it_says_so(monkeypatch):
    monkeypatch.setattr(dds_environment, "_HIGHEST_DOMAIN_ID", 1)
    monkeypatch.setenv("ROS_DOMAIN_ID", "1")
    with pytest.raises(ConfigurationError, match="all 0 DDS domains"), isolated_dds():
        pass
