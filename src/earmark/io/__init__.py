"""Files: written whole or not at all, decoded, resampled."""
