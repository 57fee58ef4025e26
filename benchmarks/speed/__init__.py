"""Speed of a tracker beside its peers: same weights, same frames, same threads, one run.

``python -m benchmarks.speed --help``
"""
