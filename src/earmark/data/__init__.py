"""Labelled clips: readers, folds, split files and the built-in sounds."""
