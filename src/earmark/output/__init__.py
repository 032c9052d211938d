"""Results as text and tables that other programs open."""
