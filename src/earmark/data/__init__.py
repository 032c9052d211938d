"""Labelled clips: readers, folds, split files, the built-in sounds and augmentation."""
