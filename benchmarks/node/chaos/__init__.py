"""Two hours' worth of what goes wrong on a robot, in ten minutes: `python -m benchmarks.node.soak --chaos`."""
