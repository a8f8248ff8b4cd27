# SPDX-License-Identifier: Apache-2.0
"""The environment in which a replay and its node find each other and nobody else, and in which large images arrive.

Variables, not arguments, because the middleware reads them: when the first participant of a process is made.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from vltseg_core.errors import ConfigurationError
from vltseg_ros.installed_files import installed_file

_HIGHEST_DOMAIN_ID = 101  # above, the ports of a domain overlap with Linux's ephemeral ones
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")  # which know the profile's variable by its older name
_DISCOVERY_VARIABLES = ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "ROS_SUPER_CLIENT")


def profiles_variable() -> str:
    """The variable that names Fast DDS's profiles; before Kilted that is Fast DDS 2, which knows it by its older name."""
    is_older = os.environ.get("ROS_DISTRO") in _WITH_FAST_DDS_2
    return "FASTRTPS_DEFAULT_PROFILES_FILE" if is_older else "FASTDDS_DEFAULT_PROFILES_FILE"


@contextmanager
def isolated_dds() -> Iterator[int]:
    """For the length of the `with` block, this process and its children are on a DDS domain of their own.

    Only this host, a random domain other than the user's and than that of any other replay on this host at the time, and
    Fast DDS with the profile for large images. Gives the domain id; puts the environment back afterwards. Raises
    ConfigurationError where every domain is taken.
    """
    before = dict(os.environ)
    domain_id, claim = _claim_domain(before.get("ROS_DOMAIN_ID", "0"))
    profile = str(installed_file("config/fastdds_large_images.xml"))
    for name in _DISCOVERY_VARIABLES:
        os.environ.pop(name, None)
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = profile
    if before.get("ROS_DISTRO") in _WITH_FAST_DDS_2:
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile
    if before.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ.pop("ROS_LOCALHOST_ONLY", None)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    try:
        yield domain_id
    finally:
        claim.close()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _claim_domain(users: str) -> tuple[int, socket.socket]:
    """A domain that no other replay on this host has, and the socket that keeps it ours until closed.

    The name of an abstract socket is the network's, as DDS's ports are, needs no file, and goes with the process.
    """
    candidates = [i for i in range(1, _HIGHEST_DOMAIN_ID + 1) if str(i) != users]
    random.SystemRandom().shuffle(candidates)
    for domain_id in candidates:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0vltseg_dds_domain_{domain_id}")
        except OSError:
            claim.close()
            continue
        return domain_id, claim
    raise ConfigurationError(f"all {len(candidates)} DDS domains of this machine are in use by replays: wait for one to end")
