"""What `/metrics` counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Counts of one server; each has a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.sessions = Gauge("earmark_sessions", "Streams that are open.", registry=registry)
        self.blocks = Counter("earmark_blocks", "Blocks that were scored.", registry=registry)
        self.batch_seconds = Histogram(
            "earmark_batch_seconds",
            "Time to score one batch of blocks.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.audio_seconds = Counter(
            "earmark_audio_seconds", "Sound that came over WebSockets.", registry=registry
        )
        self.missed_seconds = Counter(
            "earmark_missed_seconds",
            "Sound that did not come and counts as silence.",
            registry=registry,
        )
        self.events = Counter(
            "earmark_events", "Events that were raised.", ["label"], registry=registry
        )
        self.refused = Counter(
            "earmark_refused", "What was refused, by the rule.", ["rule"], registry=registry
        )
        self.left_out = Counter(
            "earmark_messages_left_out",
            "Scores and pictures that slow readers did not get.",
            registry=registry,
        )
        self.uploads = Counter("earmark_uploads", "Files that were uploaded.", registry=registry)
        self.clip_bytes = Gauge("earmark_clip_bytes", "Clips that are kept.", registry=registry)

    def text(self) -> bytes:
        """Return the counts in the text format of Prometheus."""
        return generate_latest(self.registry)
