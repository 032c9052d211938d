"""Scores of labelled clips: batched scoring, metrics, the results file, pictures."""
