"""The side that speaks ROS: trackers, their images, results and health, as immutable snapshots."""
