"""Generated sounds: the built-in dataset and sounds of no class."""
