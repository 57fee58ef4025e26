"""The ROS 2 side: nodes, messages and parameters around `sam_core`."""
