r"""Start the tracker, and with depth:=true the localizer, and lead them through their lifecycle.

Examples:
    ros2 launch sam_ros tracker.launch.py image:=/camera/color/image_raw model:=sam2.1_hiera_tiny checkpoint:=tiny.pt
    ros2 launch sam_ros tracker.launch.py image:=/camera/color/image_raw depth:=true \
        depth_image:=/camera/aligned_depth_to_color/image_raw camera_info:=/camera/color/camera_info target_frame:=odom
"""

from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from sam_ros.runtime.dds import PROFILE_VARIABLE

# Beside launch/, in a checkout as in share/sam_ros.
CONFIG = Path(__file__).parent.parent / "config"

ARGUMENTS = (
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "ros" / "tracker.yaml"),
        description="File with the node's parameters.",
    ),
    DeclareLaunchArgument("model", default_value="", description="Name of a model; empty: as in the file."),
    DeclareLaunchArgument("checkpoint", default_value="", description="File with weights; empty: as in the file."),
    DeclareLaunchArgument("device", default_value="", description="cuda, cuda:1 or cpu; empty: as in the file."),
    DeclareLaunchArgument(
        "detector", default_value="", description="Model that finds by words; empty: as in the file."
    ),
    DeclareLaunchArgument(
        "detector_checkpoint", default_value="", description="File with the detector's weights; empty: as in the file."
    ),
    DeclareLaunchArgument("image", default_value="image", description="Topic of the camera's images."),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        description="raw, or compressed: then image/compressed is subscribed to; empty: as in the file.",
    ),
    DeclareLaunchArgument("depth", default_value="false", description="Start the localizer, too."),
    DeclareLaunchArgument("depth_image", default_value="depth", description="Topic of the depth images."),
    DeclareLaunchArgument(
        "depth_camera_info", default_value="depth/camera_info", description="Calibration of depth, if not registered."
    ),
    DeclareLaunchArgument("camera_info", default_value="camera_info", description="Calibration of the images."),
    DeclareLaunchArgument("target_frame", default_value="", description="Frame of boxes; empty: as in the file."),
    DeclareLaunchArgument(
        "localizer_params_file",
        default_value=str(CONFIG / "ros" / "localizer.yaml"),
        description="File with the localizer's parameters.",
    ),
    DeclareLaunchArgument("console", default_value="false", description="Start the operator's console, too."),
    DeclareLaunchArgument(
        "console_host", default_value="127.0.0.1", description="Address of the console; 0.0.0.0: any, with a token."
    ),
    DeclareLaunchArgument("console_port", default_value="8088", description="TCP port of the console."),
    DeclareLaunchArgument("autostart", default_value="true", description="Configure and activate at once."),
    DeclareLaunchArgument(
        "respawn", default_value="false", description="Start the node again, and lead it to active, when it dies."
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
)
FOR_THE_TRACKER = ("model", "checkpoint", "device", "detector", "detector_checkpoint", "image_transport")


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the environment and the nodes."""
    return LaunchDescription([*ARGUMENTS, dds_profile(), OpaqueFunction(function=start)])


def dds_profile() -> SetEnvironmentVariable:
    """Give Fast DDS a shared-memory segment that holds images, unless the user has set a profile."""
    profile = str(CONFIG / "dds" / "fastdds_shm.xml")
    return SetEnvironmentVariable(PROFILE_VARIABLE, EnvironmentVariable(PROFILE_VARIABLE, default_value=profile))


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start the nodes. Arguments that were given count more than the files of parameters, empty ones don't."""
    given = {name: LaunchConfiguration(name).perform(context) for name in FOR_THE_TRACKER}
    image = ("image", LaunchConfiguration("image"))
    entities = lifecycle_node(context, "tracker", LaunchConfiguration("params_file"), given, [image])
    if IfCondition(LaunchConfiguration("depth")).evaluate(context):
        frame = {"target_frame": LaunchConfiguration("target_frame").perform(context)}
        remappings = [
            image,
            ("depth", LaunchConfiguration("depth_image")),
            ("depth/camera_info", LaunchConfiguration("depth_camera_info")),
            ("camera_info", LaunchConfiguration("camera_info")),
            ("objects", "tracker/objects"),
        ]
        entities += lifecycle_node(
            context, "localizer", LaunchConfiguration("localizer_params_file"), frame, remappings
        )
    if IfCondition(LaunchConfiguration("console")).evaluate(context):
        entities.append(console())
    return entities


def console() -> Node:
    """Describe the operator's console. It finds the tracker by itself, and ends alone when it ends."""
    return Node(
        package="sam_ros",
        executable="console",
        name="console",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            str(CONFIG / "ros" / "console.yaml"),
            {
                "host": ParameterValue(LaunchConfiguration("console_host"), value_type=str),
                "port": ParameterValue(LaunchConfiguration("console_port"), value_type=int),
            },
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )


def lifecycle_node(
    context: LaunchContext,
    name: str,
    file: LaunchConfiguration,
    given: dict[str, str],
    remappings: list[tuple[str, Any]],
) -> list[LaunchDescriptionEntity]:
    """Describe one of our lifecycle nodes, and the events that lead it to active."""
    autostart, respawn = (IfCondition(LaunchConfiguration(key)).evaluate(context) for key in ("autostart", "respawn"))
    node = LifecycleNode(
        package="sam_ros",
        executable=name,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            file,
            {key: ParameterValue(value, value_type=str) for key, value in given.items() if value},
            {
                # Else the events below do it. To a node that was killed and starts again they are no help: for a while
                # launch takes the services of the dead process for the new one's.
                "autostart": autostart and respawn,
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        respawn=respawn,
        remappings=remappings,
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    if respawn or not autostart:
        return [node]
    configure_when_started = RegisterEventHandler(
        OnProcessStart(target_action=node, on_start=[request(node, Transition.TRANSITION_CONFIGURE)])
    )
    # From "configuring" only: who deactivates the node by hand wants it inactive.
    activate_when_configured = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="inactive",
            entities=[request(node, Transition.TRANSITION_ACTIVATE)],
        )
    )
    return [configure_when_started, activate_when_configured, node]


def request(node: LifecycleNode, transition: int) -> EmitEvent:
    """Ask a lifecycle node for a transition."""
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))
