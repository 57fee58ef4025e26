"""Optional ways to compute the same numbers faster on one kind of device.

The networks in `sam_core.sam2` and the layers in `sam_core.layers` are plain PyTorch and know nothing of these.
`sam_core.backends.cpu` replaces modules of a built network by faster ones for a CPU.
"""
