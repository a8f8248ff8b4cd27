# SPDX-License-Identifier: Apache-2.0
"""Plays a bag through the node and judges it: ros2 launch vltseg_ros replay_evaluation.launch.py bag:=drive checkpoint:=tiny.

The evaluation starts the node itself, in a DDS domain of its own, so that nothing of a running vehicle answers or listens.
"""

from pathlib import Path

from ament_index_python.packages import get_package_prefix
from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription

# name, default (None: must be given), description; an empty value leaves the option of `vltseg evaluate-bag` as it is
ARGUMENTS = (
    ("bag", None, "The bag to play: its folder, or its .mcap or .db3 file."),
    ("checkpoint", "", "Weights: a .safetensors file, tiny, or the name of a fetched checkpoint such as acdc_1."),
    ("device", "", "auto, cpu, cuda or cuda:N."),
    ("params_file", "", "YAML file of the node; its cameras, input_health and min_confidence are left out."),
    ("rate", "", "Speed of playing; 1 is real time."),
    ("lossless", "false", "true: play each frame when the one before was answered, so that none is dropped."),
    ("min_confidence", "", "Pixels less certain get label 255: 0 to 1."),
    ("topic", "", "Image topic, where the bag has several cameras."),
    ("labels", "", "Folder of ground truth PNGs, instead of the bag's own ground truth."),
    ("label_space", "", "What the values in labels mean: cityscapes_train_ids or camvid."),
    ("max_seconds", "", "Play only so much from the bag's start."),
    ("fail_under", "", "Least mean IoU in percent, as night=55,overall=65; the launch fails where one falls short."),
    ("output", "bag_evaluation", "Folder for the results."),
)
FLAGS = ("lossless",)


def start_evaluation(context: LaunchContext) -> list[ExecuteProcess]:
    """`vltseg evaluate-bag` with the arguments that were given."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    command = [str(Path(get_package_prefix("vltseg_ros")) / "lib" / "vltseg_ros" / "vltseg"), "evaluate-bag"]
    for name, value in given.items():
        option = "--" + name.replace("_", "-")
        if name in FLAGS:
            command += [option] * (value == "true")
        elif name != "bag" and value:
            command += [option, value]
    return [
        ExecuteProcess(
            cmd=[*command, "--", given["bag"]],
            output="screen",
            emulate_tty=True,  # or there is no progress bar
            sigterm_timeout="15",  # after Ctrl-C the node gets time to end in order
            on_exit=end_launch,
        )
    ]


def end_launch(event: ProcessExited, context: LaunchContext) -> EmitEvent:
    """End the launch, with an error where the evaluation ended with one (launch makes exit code 1 of any)."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"vltseg evaluate-bag ended with exit code {event.returncode}")
    return EmitEvent(event=Shutdown(reason="the evaluation is finished"))


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the evaluation, which takes the launch down with it."""
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text, choices=["true", "false"] if name in FLAGS else None)
        for name, value, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_evaluation)])
