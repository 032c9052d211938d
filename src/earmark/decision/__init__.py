"""Scores -> decisions: calibration and the rule that turns scores into a label."""
