"""Tracking quality on held-out synthetic clips with exact truth, through the public streaming API.

``python -m benchmarks.quality --help``
"""
