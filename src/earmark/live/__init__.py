"""Sound as it comes: microphones and pipes."""
