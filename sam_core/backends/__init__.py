"""Optional ways to compute the same numbers faster."""
