"""Figures of merit of the demo: what is tracked, compared with the truth of a synthetic scene."""
