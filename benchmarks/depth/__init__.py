"""How right are boxes in space, how fast, and are image and depth ever paired wrongly? `python -m benchmarks.depth`."""
