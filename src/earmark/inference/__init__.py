"""Using a trained model: on clips now, on streams and events later."""
