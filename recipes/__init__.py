"""Named recipes, read by `earmark.recipe`; each key is explained where it stands."""
