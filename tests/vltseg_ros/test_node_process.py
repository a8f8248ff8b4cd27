# SPDX-License-Identifier: Apache-2.0
"""A node's process ends when it should, and says why when it should not have."""

from __future__ import annotations

import array
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.process_state import is_running
from vltseg_ros.node_process import NodeError, NodeProcess

PATIENT = "import time\ntry:\n  print('ready', flush=True)\n  time.sleep(60)\nexcept KeyboardInterrupt:\n  print('bye')"
DEAF = "import signal as s, time\nfor n in (2, 15): s.signal(n, s.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"


def start(tmp_path, script, **parameters):
    return NodeProcess(
        [sys.executable, "-c", script],
        name="node",
        namespace="/demo",
        parameters=parameters,
        log_path=tmp_path / "node.log",
    )


def wait_for(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_names_and_parameters_reach_the_node_whatever_their_text(tmp_path):
    arguments = {"checkpoint": "my weights: v1.safetensors", "size": [3, 4], "number": "1e3", "flag": True}
    with start(tmp_path, "import sys; print(sys.argv[1:])", **arguments) as node:
        wait_for(lambda: node.exit_code is not None)
    printed = (tmp_path / "node.log").read_text()
    for words in ("'--ros-args', '-r', '__node:=node', '-r', '__ns:=/demo'", '"my weights: v1.safetensors"', "[3, 4]"):
        assert words in printed
    assert 'number:="1e3"' in printed and "flag:=true" in printed
    assert node.full_name == "/demo/node"


def test_stopping_asks_first(tmp_path):
    with start(tmp_path, PATIENT) as node:
        wait_for(lambda: "ready" in (tmp_path / "node.log").read_text())
        assert node.stop() == 0
    assert (tmp_path / "node.log").read_text().split() == ["ready", "bye"]


def test_stopping_kills_what_does_not_listen(tmp_path):
    node = start(tmp_path, DEAF)
    wait_for(lambda: "ready" in (tmp_path / "node.log").read_text())
    assert node.stop(patience_s=0.2) == -signal.SIGKILL


def test_the_last_words_are_the_last_error_of_the_log(tmp_path):
    script = (
        "print('[INFO] [1.5] [a.node]: loading')\nprint('[ERROR] [1.6] [a.node]: no such file: give another')\n"
        "print('[INFO] [1.7] [a.node]: bye')\nraise SystemExit(4)"
    )
    with start(tmp_path, script) as node:
        wait_for(lambda: node.exit_code is not None)
        with pytest.raises(NodeError, match="^the node ended with exit code 4: no such file: give another$"):
            node.require_running()


def test_without_an_error_the_last_warning_speaks(tmp_path):
    script = "print('[WARN] [1.5] [a.node]: encoding 16UC1 is unknown')\nprint('[INFO] [1.6] [a.node]: bye')"
    with start(tmp_path, script) as node:
        wait_for(lambda: node.exit_code is not None)
        assert node.last_error() is None and node.last_words() == "encoding 16UC1 is unknown"


def test_without_either_the_last_line_speaks(tmp_path):
    with start(tmp_path, "print('one')\nraise ValueError('two')") as node:
        wait_for(lambda: node.exit_code is not None)
        assert node.last_error() is None and node.last_words() == "ValueError: two"
    with start(tmp_path, "") as node:
        wait_for(lambda: node.exit_code is not None)
        assert node.last_words() == "it printed nothing"


def test_a_killed_parent_leaves_no_node_behind(tmp_path):
    """The parent's own interpreter is killed outright, with no chance to clean up."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom vltseg_ros.node_process import NodeProcess\n"
        f"node = NodeProcess([sys.executable, '-c', {PATIENT!r}], name='n', namespace='/d', parameters={{}}, "
        f"log_path=Path({str(tmp_path / 'node.log')!r}))\nprint(node.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_for(lambda: "ready" in (tmp_path / "node.log").read_text())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not is_running(pid))


def test_raw_4k_images_get_through_to_another_process(peer, tmp_path):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    stand_in = [sys.executable, str(Path(__file__).parent / "stand_in_node.py")]
    answered = []
    publisher = peer.node.create_publisher(Image, "/far/image", QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))
    peer.node.create_subscription(Image, "/far/semantic/labels", answered.append, 5)
    image = Image(encoding="rgb8", height=2160, width=3840, step=3 * 3840)
    image.data = array.array("B", bytes(image.height * image.step))
    with NodeProcess(stand_in, name="node", namespace="/far", parameters={}, log_path=tmp_path / "node.log") as node:
        assert peer.spin_until(publisher.get_subscription_count, 30), node.last_words()
        assert peer.spin_until(lambda: peer.node.count_publishers("/far/semantic/labels"))
        peer.spin_until(lambda: False, 0.5)
        for number in range(1, 6):
            publisher.publish(image)
            assert peer.spin_until(lambda: len(answered) >= number, 5), f"image {number} got lost"  # noqa: B023
