"""The tracker's lifecycle node: parameters, publishers and diagnostics."""
