"""Start a camera and the tracker, and give the tracker a first prompt.

Examples:
    ros2 launch sam_ros demo.launch.py
    ros2 launch sam_ros demo.launch.py source:=0 prompt:='{box: [200, 100, 400, 300], label: me}'

Look at the result with `ros2 run rqt_image_view rqt_image_view /tracker/overlay`.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.parameter_descriptions import ParameterValue

HERE = Path(__file__).parent

ARGUMENTS = (
    DeclareLaunchArgument(
        "source", default_value="scene", description="scene, a video file, a folder of images or a webcam's number."
    ),
    DeclareLaunchArgument("model", default_value="", description="Name of a model; empty: the default one."),
    DeclareLaunchArgument("checkpoint", default_value="", description="File with weights; empty: the package's."),
    DeclareLaunchArgument(
        "device", default_value="", description="cuda, cuda:1 or cpu; empty: cuda where there is one."
    ),
    DeclareLaunchArgument(
        "prompt",
        # On the scene's green turtle during its first three seconds.
        default_value="{points: [{x: 546.0, y: 147.0, label: 1}], label: green turtle}",
        description="The first prompt: a request of sam_msgs/srv/AddPrompt in YAML.",
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the demo: the tracker; once it is active, the camera; once a frame is processed, the prompt."""
    tracker = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "tracker.launch.py")),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in ("model", "checkpoint", "device", "log_level")],
    )
    camera = Node(
        package="sam_ros",
        executable="camera",
        name="camera",
        parameters=[
            str(HERE.parent / "config" / "ros" / "camera.yaml"),
            {"source": ParameterValue(LaunchConfiguration("source"), value_type=str)},
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    first_frame = ExecuteProcess(
        cmd=[
            *("ros2", "topic", "echo", "--once", "--field", "sequence"),
            *("/tracker/objects", "sam_msgs/msg/TrackedObjectArray"),
        ],
    )
    prompt = ExecuteProcess(
        cmd=[
            *("ros2", "service", "call", "/tracker/add_prompt", "sam_msgs/srv/AddPrompt"),
            LaunchConfiguration("prompt"),
        ],
        output="screen",
    )
    when_active = OnStateTransition(goal_state="active", entities=[first_frame, camera], handle_once=True)
    when_processed = OnProcessExit(target_action=first_frame, on_exit=[prompt])
    return LaunchDescription(
        [*ARGUMENTS, RegisterEventHandler(when_active), RegisterEventHandler(when_processed), tracker]
    )
