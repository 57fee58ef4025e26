"""Start a camera and the tracker, and give the tracker a first prompt.

Examples:
    ros2 launch sam_ros demo.launch.py
    ros2 launch sam_ros demo.launch.py source:=scene namespace:=robot
    ros2 launch sam_ros demo.launch.py source:=0 prompt:='{box: [200, 100, 400, 300], label: me}'

Look at the result with `ros2 run rqt_image_view rqt_image_view /tracker/overlay`.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

HERE = Path(__file__).parent

ARGUMENTS = (
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
    DeclareLaunchArgument(
        "source",
        default_value="cup",
        description="cup (a camera clip), scene or twins (rendered), a video file, a folder of images or a webcam's "
        "number.",
    ),
    DeclareLaunchArgument("model", default_value="", description="Name of a model; empty: the default one."),
    DeclareLaunchArgument("checkpoint", default_value="", description="File with weights; empty: the package's."),
    DeclareLaunchArgument(
        "device", default_value="", description="cuda, cuda:1 or cpu; empty: cuda where there is one."
    ),
    DeclareLaunchArgument(
        "prompt",
        default_value="",
        description="The first prompt: points, box and label of a request of sam_msgs/srv/AddPrompt in YAML. Empty: "
        "what cup and scene show, nothing with other sources.",
    ),
    DeclareLaunchArgument(
        "respawn", default_value="false", description="Start the tracker again, and lead it to active, when it dies."
    ),
    DeclareLaunchArgument("console", default_value="false", description="Start the operator's console, too."),
    DeclareLaunchArgument(
        "console_host", default_value="127.0.0.1", description="Address of the console; 0.0.0.0: any, with a token."
    ),
    DeclareLaunchArgument("console_port", default_value="8088", description="TCP port of the console."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
)
FOR_THE_TRACKER = (
    *("namespace", "model", "checkpoint", "device", "respawn", "log_level"),
    *("console", "console_host", "console_port"),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the demo: the tracker, the camera, and who prompts the tracker's first result."""
    tracker = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "tracker.launch.py")),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in FOR_THE_TRACKER],
    )
    source = {"source": ParameterValue(LaunchConfiguration("source"), value_type=str)}
    prompt = node("first_prompt", source, {"prompt": ParameterValue(LaunchConfiguration("prompt"), value_type=str)})
    # It begins when the tracker listens, so that the prompt is on the first image.
    camera = node("camera", str(HERE.parent / "config" / "ros" / "camera.yaml"), source, {"wait_for_subscriber": True})
    return LaunchDescription([*ARGUMENTS, prompt, camera, tracker])


def node(name: str, *parameters: object) -> Node:
    """Describe one of our nodes, named as its executable."""
    return Node(
        package="sam_ros",
        executable=name,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        parameters=list(parameters),
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
