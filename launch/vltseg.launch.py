# SPDX-License-Identifier: Apache-2.0
"""Starts the segmentation node: ros2 launch vltseg_ros vltseg.launch.py image_topic:=/camera/image_raw."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("vltseg_ros"))

# name, default, description; an empty value leaves the parameters file's (or the node's own default) as it is
ARGUMENTS = (
    ("namespace", "", "Namespace of the node and its topics."),
    ("node_name", "vltseg", "Name of the node."),
    ("cameras", "", "Camera names, separated by commas (front,left); each listens to <camera>/image. Empty: one camera."),
    ("image_topic", "image", "Topic that the single camera's raw images come on (without cameras)."),
    ("image_transport", "", "raw or compressed (CompressedImage on <image_topic>/compressed)."),
    ("checkpoint", "", "Weights: a .safetensors file, tiny, or the name of a fetched checkpoint such as acdc_1."),
    ("device", "", "auto, cpu, cuda or cuda:N."),
    ("backend", "", "auto, eager, compile, tensorrt or onnxruntime."),
    ("engine_cache", "", "Folder of engines."),
    ("precision", "", "auto, fp32, fp16 or bf16."),
    ("params_file", str(SHARE / "config" / "vltseg.yaml"), "YAML file with the node's parameters."),
    ("use_sim_time", "", "true: use the clock on /clock, as for bags played with --clock."),
    ("autostart", "", "true: configure and activate at start; false: wait for a lifecycle manager."),
    ("respawn", "false", "Start the node again, after 2 s, when it ends by itself, as with exit code 1 when a GPU is lost."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
    ("rviz", "false", "Open RViz with image, overlay and mask."),
    ("fastdds_profile", "true", "Use the Fast DDS profile for large images, unless the environment names another."),
)
STRING_PARAMETERS = ("image_transport", "checkpoint", "device", "backend", "engine_cache", "precision")
BOOL_PARAMETERS = ("use_sim_time", "autostart")


def start_node(context: LaunchContext) -> list[LifecycleNode]:
    """The node, with the parameters of the file and those given as arguments over them; RuntimeError without the file."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    if given["params_file"] and not Path(given["params_file"]).is_file():  # launch_ros would pass over it with a warning
        raise RuntimeError(f"params_file '{given['params_file']}' is no file: give the path of a YAML file")
    parameters = {name: ParameterValue(given[name], value_type=str) for name in STRING_PARAMETERS if given[name]}
    cameras = [camera.strip() for camera in given["cameras"].split(",") if camera.strip()]
    if cameras:
        parameters["cameras"] = cameras
    switches = [name for name in BOOL_PARAMETERS if given[name]]
    parameters |= {name: ParameterValue(LaunchConfiguration(name), value_type=bool) for name in switches}
    parameters["stop_with_parent"] = True  # whatever the file says: a launch that is killed leaves no node behind
    pushed = "" if given["namespace"].startswith("/") else context.launch_configurations.get("ros_namespace", "")
    logger = ".".join(part for part in (*pushed.split("/"), *given["namespace"].split("/"), given["node_name"]) if part)
    topic = given["image_topic"]
    remappings = [] if cameras else [("image", topic), ("image/compressed", f"{topic}/compressed")]
    return [
        LifecycleNode(
            package="vltseg_ros",
            executable="segmentation_node",
            name=given["node_name"],
            namespace=given["namespace"],
            parameters=[given["params_file"], parameters] if given["params_file"] else [parameters],
            remappings=remappings,
            arguments=["--ros-args", "--log-level", f"{logger}:={given['log_level']}"],
            sigterm_timeout="40",  # after Ctrl-C a network or a build that hangs is waited for, and the black box written
            sigkill_timeout="10",
            respawn=given["respawn"].lower() == "true",
            respawn_delay=2.0,
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, the environment for large images, the node and, if wanted, RViz."""
    profile = str(SHARE / "config" / "fastdds_large_images.xml")
    declared = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    # Fast DDS 2, which Jazzy and older have, knows the variable by its older name.
    is_older = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE" if is_older else "FASTDDS_DEFAULT_PROFILES_FILE"
    environment = SetEnvironmentVariable(
        variable, os.environ.get(variable, profile), condition=IfCondition(LaunchConfiguration("fastdds_profile"))
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(SHARE / "config" / "vltseg.rviz")],
        remappings=[("image", LaunchConfiguration("image_topic"))],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, environment, OpaqueFunction(function=start_node), rviz])
