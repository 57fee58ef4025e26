"""The demo: starts a camera and a tracker as processes, prompts the tracker and shows what it tracks."""
