"""Start the tracker and lead it through its lifecycle.

Example:
    ros2 launch sam_ros tracker.launch.py image:=/camera/color/image_raw model:=sam2.1_hiera_tiny checkpoint:=tiny.pt
"""

from pathlib import Path

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
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

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
    DeclareLaunchArgument("image", default_value="image", description="Topic of the camera's images."),
    DeclareLaunchArgument("autostart", default_value="true", description="Configure and activate at once."),
    DeclareLaunchArgument(
        "respawn", default_value="false", description="Start the node again, and lead it to active, when it dies."
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the tracker: its arguments, its environment and the node."""
    return LaunchDescription([*ARGUMENTS, dds_profile(), OpaqueFunction(function=start)])


def dds_profile() -> SetEnvironmentVariable:
    """Give Fast DDS a shared-memory segment that holds images, unless the user has set a profile."""
    variable, profile = "FASTDDS_DEFAULT_PROFILES_FILE", str(CONFIG / "dds" / "fastdds_shm.xml")
    return SetEnvironmentVariable(variable, EnvironmentVariable(variable, default_value=profile))


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start the node. Arguments that were given count more than the file of parameters, empty ones don't."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("model", "checkpoint", "device")}
    autostart, respawn = (IfCondition(LaunchConfiguration(name)).evaluate(context) for name in ("autostart", "respawn"))
    tracker = LifecycleNode(
        package="sam_ros",
        executable="tracker",
        name="tracker",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            {name: ParameterValue(value, value_type=str) for name, value in given.items() if value},
            {
                # Else the events below do it. To a node that was killed and starts again they are no help: for a while
                # launch takes the services of the dead process for the new one's.
                "autostart": autostart and respawn,
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        respawn=respawn,
        remappings=[("image", LaunchConfiguration("image"))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    if respawn or not autostart:
        return [tracker]
    configure_when_started = RegisterEventHandler(
        OnProcessStart(target_action=tracker, on_start=[request(tracker, Transition.TRANSITION_CONFIGURE)])
    )
    # From "configuring" only: who deactivates the node by hand wants it inactive.
    activate_when_configured = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=tracker,
            start_state="configuring",
            goal_state="inactive",
            entities=[request(tracker, Transition.TRANSITION_ACTIVATE)],
        )
    )
    return [configure_when_started, activate_when_configured, tracker]


def request(node: LifecycleNode, transition: int) -> EmitEvent:
    """Ask a lifecycle node for a transition."""
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))
