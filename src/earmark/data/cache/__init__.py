"""Mel frames of audio files, kept on disk so that a file is decoded once."""
