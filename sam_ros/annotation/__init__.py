"""Annotate recorded data: bags, videos and folders in; masks, labels and a report out. Needs no ROS."""
