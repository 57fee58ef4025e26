"""Python distribution of the repository: the library `sam_core` and the ROS nodes `sam_ros`.

For pip; colcon builds the same with CMakeLists.txt. The interfaces (`sam_msgs`) are a distribution of their own, in
`msg/`, because they are compiled.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

# The interpreter-independent requirements of the library; PyTorch's build (CPU, CUDA) is the user's choice.
LIBRARY = [
    "ftfy>=6",
    "hydra-core>=1.3.6,<2",
    "numpy>=1.23",
    "omegaconf>=2.3,<3",
    "opencv-python-headless>=4.5",
    "safetensors>=0.4",
    "tokenizers>=0.20",
    "torch>=2.3",
]


def pinned(name: str) -> list[str]:
    """Read the requirements of a file in `requirements/`."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def share(folder: str, pattern: str) -> tuple[str, list[str]]:
    """Say that the files of a folder go to the same folder below the package's `share/`."""
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern))
    return f"share/sam_ros/{folder}".rstrip("/."), files


setup(
    name="sam-ros",
    version=ElementTree.parse(ROOT / "package.xml").findtext("version"),
    description="Prompt an object in a live camera, get its mask and box frame after frame: SAM 2 as a ROS 2 node",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    install_requires=LIBRARY,
    extras_require={
        # ROS 2 Kilted from PyPI, pinned. Only for environments without an apt ROS: two ROS distributions in one process
        # don't work. It isn't called `ros` so that nobody with an apt ROS asks for it in passing.
        "ros-wheels": pinned("ros.txt"),
        "training": pinned("train.txt"),
        "console": pinned("console.txt"),
        "viewers": pinned("viewers.txt"),
        "annotate": pinned("annotate.txt"),
        "ray": pinned("ray.txt"),
        "test": pinned("test.txt"),
    },
    # Configuration lives in config/ of the repository and inside the packages once installed; so do the definitions of
    # our messages, which sam-annotate writes into bags where no ROS is.
    packages=[
        *find_packages(include=["sam_core*", "sam_ros*"]),
        "sam_core.config",
        "sam_ros.config",
        "sam_ros.interfaces",
    ],
    package_dir={"sam_core.config": "config", "sam_ros.config": "config", "sam_ros.interfaces": "msg"},
    package_data={
        "sam_core": ["data/*", "weights/*.safetensors", "py.typed"],
        "sam_core.config": ["models/**/*.yaml", "training/**/*.yaml"],
        "sam_ros": ["camera/clips/*.mp4", "console/web/*.css", "console/web/*.js", "py.typed"],
        "sam_ros.interfaces": ["TrackedObject.msg", "TrackedObjectArray.msg"],
        "sam_ros.config": ["ros/*.yaml", "dds/*.xml", "sros2/*.xml"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/sam_ros"]),
        share(".", "package.xml"),
        share("launch", "*.launch.py"),
        share("config/ros", "*.yaml"),
        share("config/dds", "*.xml"),
        share("config/sros2", "*.xml"),
        share("config/rviz", "*.rviz"),
        share("config/foxglove", "*.json"),
    ],
    entry_points={
        "console_scripts": [
            "sam-rerun = sam_ros.rerun_log.rerun_node:main",
            "sam-tracker = sam_ros.node.tracker_node:main",
            "sam-camera = sam_ros.camera.camera_node:main",
            "sam-console = sam_ros.console.console:main",
            "sam-localizer = sam_ros.localization.localizer_node:main",
            "sam-demo = sam_ros.demo.__main__:main",
            "sam-annotate = sam_ros.annotation.__main__:main",
            "sam-train = sam_core.training.__main__:main",
        ]
    },
    zip_safe=False,
)
