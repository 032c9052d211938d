"""Split files that cannot act, and those of others."""
