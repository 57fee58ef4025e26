"""Segment and track anything in a live camera: SAM 2, SAM 2.1 and SAM 3 in PyTorch, without ROS."""
