# SPDX-License-Identifier: Apache-2.0
"""The environment in which a replay and its node find each other and nobody else, and in which large images arrive.

Variables, not arguments, because the middleware reads them: when the first participant of a process is made.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

from vltseg_ros.installed_files import installed_file

_HIGHEST_DOMAIN_ID = 101  # above, the ports of a domain overlap with Linux's ephemeral ones
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")  # which know the profile's variable by its older name
_DISCOVERY_VARIABLES = ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "ROS_SUPER_CLIENT")


@contextmanager
def isolated_dds() -> Iterator[int]:
    """For the length of the `with` block, this process and its children are on a DDS domain of their own.

    Only this host, a random domain other than the user's, and Fast DDS with the profile for large images.
    Gives the domain id; puts the environment back afterwards.
    """
    before = dict(os.environ)
    taken = before.get("ROS_DOMAIN_ID", "0")
    domain_id = random.SystemRandom().choice([i for i in range(1, _HIGHEST_DOMAIN_ID + 1) if str(i) != taken])
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
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
