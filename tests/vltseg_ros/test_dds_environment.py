# SPDX-License-Identifier: Apache-2.0
"""A demo never meets a running robot on the network."""

from __future__ import annotations

import os
from pathlib import Path

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
