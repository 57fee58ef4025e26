"""Concept detection in the node: services, the detector's thread, and periodic redetection."""
