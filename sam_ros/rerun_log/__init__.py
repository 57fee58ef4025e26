"""Log what a tracker sees for the Rerun viewer."""
