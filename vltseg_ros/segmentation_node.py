# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: camera topics in, semantic masks out. Wiring only.

configure loads and warms up the network, activate subscribes, deactivate stops within one frame, cleanup frees the
device. Callbacks only store the newest message; one worker thread converts, segments and publishes. A network that is
given up brings the node to error processing, and from there to unconfigured.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image

from vltseg_core.errors import VltsegError
from vltseg_core.runtime import Segmenter
from vltseg_ros import diagnostics, parameters
from vltseg_ros.backend_building import BackendBuilding
from vltseg_ros.black_box import BlackBox, start_black_box
from vltseg_ros.callback_failures import CallbackFailures
from vltseg_ros.camera_subscriptions import CameraSubscriptions
from vltseg_ros.diagnostics import FrameStatistics
from vltseg_ros.frame_answering import FrameAnswering, NetworkWatch
from vltseg_ros.frame_serving import FrameServing, ServingParts
from vltseg_ros.frame_slot import Frame
from vltseg_ros.input_watch import InputWatch
from vltseg_ros.input_watchdog import explain_silences
from vltseg_ros.mask_publishers import MaskPublishers
from vltseg_ros.node_main import run_node
from vltseg_ros.node_report import NodeCondition, NodeReports
from vltseg_ros.parameters import NodeParameters
from vltseg_ros.recovery import RecoveryPolicy
from vltseg_ros.segmenter_loading import SegmenterFactory, free, load_anew, load_segmenter
from vltseg_ros.throttled_log import ThrottledLog

_STOP_PATIENCE_S = 10.0
_WATCH_PERIOD_S = 0.1
_LOG_PERIOD_S = 5.0
_LOAD_PATIENCE_S = 60.0


class SegmentationNode(LifecycleNode):  # type: ignore[misc]  # rclpy is untyped
    """Subscribes to cameras, publishes masks with each frame's own header. segmenter_factory: as `Segmenter.load`."""

    def __init__(self, *, segmenter_factory: SegmenterFactory = Segmenter.load, **node_options: Any) -> None:
        super().__init__("vltseg", **node_options)
        self._load = segmenter_factory
        parameters.declare(self)
        self._settings: NodeParameters | None = None
        self._segmenter: Segmenter | None = None
        self._building: BackendBuilding | None = None
        self._outputs: dict[str, MaskPublishers] = {}
        self._inputs: CameraSubscriptions | None = None
        self._serving: FrameServing | None = None
        self._input_watch: InputWatch | None = None
        self._failure: str | None = None
        self._load_s = 0.0
        self.has_failed = Future()
        self._statistics = FrameStatistics()
        self._active_since_s: float | None = None
        self._state_name = "unconfigured"
        self._silent: dict[str, str] = {}
        self._log = ThrottledLog(lambda sentence: self.get_logger().warning(sentence), _LOG_PERIOD_S)
        self._failures = CallbackFailures(self._log)
        self._black_box: BlackBox | None = None
        self.add_on_set_parameters_callback(self._check_parameters)
        self._reports = NodeReports(self)
        period_s = float(self.get_parameter("diagnostics_period_s").value)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period, callback in ((period_s, self._report), (_WATCH_PERIOD_S, self._watch_serving)):
            own_group = MutuallyExclusiveCallbackGroup()  # a request that cannot be taken leaves the services' group deaf
            self.create_timer(period, callback, clock=steady, callback_group=own_group)

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the network; fails with a sentence that says what to do."""
        try:
            settings = parameters.read(self)
            started = time.monotonic()
            self._black_box = start_black_box(settings, self.get_logger().warning)
            segmenter, pass_s = load_segmenter(settings, self._load)
            self._settings, self._segmenter = settings, segmenter
            for camera in settings.camera_names:
                self._outputs[camera] = MaskPublishers(self, camera, segmenter.classes)
        except VltsegError as error:
            self.get_logger().error(str(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it: said here, then handled as a lifecycle error
            self.get_logger().error(f"configure failed: {type(error).__name__}: {error}")
            raise
        self._load_s, self._failure = time.monotonic() - started, None
        description = segmenter.describe()
        self.get_logger().info(
            f"loaded {description.checkpoint} ({description.preset}) in {self._load_s:.1f} s on "
            f"{description.device}, {description.precision}, {description.backend} ({description.backend_reason}): "
            f"{pass_s * 1000:.0f} ms a pass"
        )
        self._build_backend(segmenter)
        self._state_name = "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start serving frames."""
        assert self._settings is not None
        settings = self._settings
        result = super().on_activate(state)
        if result != TransitionCallbackReturn.SUCCESS:
            return result
        try:
            segmenter = self._segmenter or load_segmenter(settings, self._load)[0]  # a hanging one was left to itself
        except Exception as error:  # rclpy would swallow it: said here; the device may be gone meanwhile
            self.get_logger().error(f"activate failed: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.FAILURE
        if self._segmenter is None:
            self._build_backend(segmenter)
        self._segmenter = segmenter
        statistics = self._statistics = FrameStatistics()
        self._input_watch = InputWatch(settings.camera_names)
        self._serving = FrameServing(
            segmenter,
            settings.camera_names,
            statistics,
            self._serving_parts(settings, statistics),
            policy=RecoveryPolicy(min(settings.max_batch_size, len(settings.camera_names))),
            load_timeout_s=max(_LOAD_PATIENCE_S, 3 * self._load_s),
        )
        self._active_since_s = time.monotonic()
        self._serving.start()
        for outputs in self._outputs.values():
            outputs.publish_label_info(self.get_clock().now().to_msg(), settings.min_confidence)
        receive = functools.partial(self._receive, self._serving, statistics)
        is_compressed = settings.image_transport == "compressed"
        self._inputs = CameraSubscriptions(self, settings.camera_names, receive, is_compressed=is_compressed)
        self._state_name = "active"
        listened = ", ".join(subscription.topic_name for subscription in self._inputs.by_camera.values())
        self.get_logger().info(f"active, listening to {listened}")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop within one frame; a frame still in hand is not published. An error where the network was given up."""
        self._stop_serving()
        self._state_name = "inactive"
        return TransitionCallbackReturn.ERROR if self._failure else super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the device and take the topics away."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from whatever state."""
        self._release()
        self._state_name = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unexpected exception in a transition, or a network given up: free all and be unconfigured again."""
        self._write_black_box(self._failure or "a transition failed")
        self._release()
        if self._failure:
            self._report()
            self._reports.wait_until_sent()
        return TransitionCallbackReturn.SUCCESS

    def _build_backend(self, segmenter: Segmenter) -> None:
        self._building = None
        if segmenter.has_backend_to_build:
            log = self.get_logger().info
            self._building = BackendBuilding(segmenter, on_step=lambda s: log(f"building: {s}"), on_end=self._say_built)

    def _say_built(self, failure: str | None, shortfall: str) -> None:
        segmenter = self._segmenter  # which the executor's thread may take away
        if failure and segmenter:
            self.get_logger().error(f"the backend could not be built: {failure}")
        elif shortfall and segmenter:  # rclpy takes one severity from one place of the code
            self.get_logger().warning(diagnostics.served_by(segmenter.describe()))
        elif segmenter:
            self.get_logger().info(diagnostics.served_by(segmenter.describe()))

    def _stop_serving(self) -> None:
        inputs, self._inputs = self._inputs, None
        if inputs:
            inputs.destroy()
        self._active_since_s = None
        self._silent = {}
        serving, self._serving = self._serving, None
        if serving is None:
            return
        self._segmenter = serving.end(_STOP_PATIENCE_S)
        self._note_failure(serving.failure)
        if self._segmenter is None and serving.is_busy:
            self.get_logger().error("the network did not come to an end: it is left to itself, and what it says discarded")

    def _release(self) -> None:
        self._stop_serving()
        for publishers in self._outputs.values():
            publishers.destroy()
        self._outputs = {}
        segmenter, self._segmenter, self._settings = self._segmenter, None, None
        building, self._building = self._building, None
        if segmenter:
            free(segmenter, self.get_logger().warning)  # ends a build in a process of its own
        if building and not building.wait(_STOP_PATIENCE_S):
            self.get_logger().warning("a backend is still being built: its result is discarded")
        black_box, self._black_box = self._black_box, None
        if black_box and not black_box.close(_STOP_PATIENCE_S):
            self.get_logger().warning("the black box is still being written")
        self._state_name = "unconfigured"

    # Frames

    def _receive(
        self, serving: FrameServing, statistics: FrameStatistics, camera: str, topic: str, message: Image | CompressedImage
    ) -> None:
        statistics.count_received(camera)
        if self._black_box is not None:
            self._black_box.remember_frame(topic, message)
        serving.put(Frame(camera, message))

    def survive(self, error: Exception) -> None:
        """A callback of this node, or of rclpy for it, failed, or a message could not be taken: say so and go on."""
        self._failures.note(error, self._statistics)

    def _unready(self) -> str | None:
        """Why frames are not answered yet, for the counts."""
        building, settings, segmenter = self._building, self._settings, self._segmenter
        if building is None or settings is None or settings.serve_while_building or (segmenter and segmenter.serves_meanwhile):
            return None
        return "backend is being built" if building.is_running else "no backend" if building.failure else None

    def _serving_parts(self, settings: NodeParameters, statistics: FrameStatistics) -> ServingParts:
        def now() -> NodeParameters:
            return self._settings or settings

        def answering(segmenter: Segmenter, watch: NetworkWatch) -> FrameAnswering:
            assert self._input_watch is not None  # there is one from the first activation on
            return FrameAnswering(
                self,
                segmenter,
                self._outputs,
                statistics,
                settings=now,
                unready=self._unready,
                watch=watch,
                inputs=self._input_watch,
                on_lost=self._write_black_box,
            )

        return ServingParts(
            answering,
            load_anew=lambda remedy: load_anew(settings, self._load, remedy),
            inference_timeout_s=lambda: now().inference_timeout_s,
            say=lambda sentence: self.get_logger().warning(sentence),
        )

    def _watch_serving(self) -> None:
        """Look after the network; where it was given up, go through error processing, which says why."""
        if self._inputs:
            self._failures.renew_deaf(self._inputs, self._statistics)
        if self._serving is None:
            return
        self._serving.watch()
        if self._serving.failure is not None:
            self.trigger_deactivate()

    def _note_failure(self, failure: str | None) -> None:
        """The network was given up, if there is a failure: say why, and end what waits for that."""
        if failure is None:
            return
        self._failure = failure
        self.get_logger().error(f"{failure}: configure the node again, or restart its process")
        if not self.has_failed.done():
            self.has_failed.set_result(failure)

    def close(self) -> None:
        """Stop and free everything before the node is destroyed."""
        self._release()

    # Parameters and reports

    def _check_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        result = parameters.check_change(self._settings, changed)
        if result.successful and self._settings is not None:
            self._settings = parameters.updated(self._settings, changed)
            for outputs in self._outputs.values() if self._inputs else ():
                outputs.publish_label_info(self.get_clock().now().to_msg(), self._settings.min_confidence)
        return result

    def _report(self) -> None:
        self._check_input()
        values = {"state": self._state_name, **self._statistics.values(), **self._failures.values()}
        serving, segmenter = self._serving, self._segmenter
        if serving is not None:
            values |= serving.values()
            segmenter = serving.segmenter
        if segmenter is not None:
            values |= diagnostics.describe_segmenter(segmenter.describe(), segmenter.memory_bytes())
        self._reports.publish(self._condition(), tuple(self._cameras_heard), values, self._black_box)

    @property
    def _cameras_heard(self) -> Mapping[str, Any]:
        """The subscriptions by camera, none while not active."""
        return self._inputs.by_camera if self._inputs else {}

    def _condition(self) -> NodeCondition:
        building, settings = self._building, self._settings
        return NodeCondition(
            self._statistics,
            watch=self._input_watch if self._inputs else None,
            building=building.progress if building and building.is_running else "",
            build_failure=building.failure or building.shortfall if building else "",
            is_fatal=bool(settings and building and building.failure and not settings.serve_while_building),
            silent=self._silent,
            trouble=self._serving.warnings if self._serving else (),
            failure=self._failure or "",
        )

    def _write_black_box(self, reason: str) -> None:
        if self._black_box is not None:
            self._black_box.write(reason)

    def _check_input(self) -> None:
        settings, since_s, self._silent = self._settings, self._active_since_s, {}
        if settings is None or since_s is None or settings.input_timeout_s == 0:
            return
        silent_s = {camera: self._statistics.seconds_without_input(camera, since_s) for camera in self._cameras_heard}
        self._silent = explain_silences(self, self._cameras_heard, silent_s, settings.input_timeout_s)
        if self._silent:
            self._log.warn("silence", "; ".join(self._silent.values()))


def main(arguments: list[str] | None = None, *, segmenter_factory: SegmenterFactory = Segmenter.load) -> int:
    """Run the node until a signal; its exit code, see `run_node`."""
    return run_node(lambda: SegmentationNode(segmenter_factory=segmenter_factory), arguments)


if __name__ == "__main__":
    sys.exit(main())
