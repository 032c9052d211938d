"""Running a trained model: engines, scores of streams, sessions, events."""
