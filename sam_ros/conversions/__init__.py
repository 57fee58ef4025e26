"""Between ROS messages and arrays: images, prompts, results, and results drawn over an image."""
