"""Tracking in the node: the inference thread, its session and the prompt services."""
