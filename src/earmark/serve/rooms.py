"""Thresholds that were fitted to a room, kept for each model: the calibration of its weights.

SOUNDS/rooms/IDENTITY.json      as `earmark calibrate` writes it; other commands take it too
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.classifier import Classifier
from earmark.config import Calibration
from earmark.decision.calibration_file import read_calibration, write_calibration
from earmark.io.files import read_json

FOLDER = "rooms"


class Rooms:
    """Keeps what was fitted to a room.

    Args:
        folder: of a person's own sounds.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER

    def path(self, classifier: Classifier) -> Path:
        """Return the file of a model's room, whether or not there is one."""
        return self._folder / f"{classifier.info.identity}.json"

    def read(self, classifier: Classifier) -> tuple[Calibration, dict[str, Any]] | None:
        """Return the calibration of a model's room, and how it was fitted; None: there is none.

        Raises:
            ModelError: the file was cut or edited.
        """
        path, info = self.path(classifier), classifier.info
        if not path.is_file():
            return None
        calibration = read_calibration(path, info.identity, classes=info.classes)
        fitted = read_json(path).get("fitted")
        return calibration, fitted if isinstance(fitted, dict) else {}

    def write(
        self, classifier: Classifier, calibration: Calibration, fitted: Mapping[str, Any]
    ) -> None:
        """Keep the calibration of a model's room in place of an earlier one.

        Raises:
            OSError: it cannot be written.
        """
        info = classifier.info
        write_calibration(
            self.path(classifier), calibration, info.identity, classes=info.classes, fitted=fitted
        )

    def remove(self, classifier: Classifier) -> bool:
        """Remove the room of a model; tell whether there was one."""
        path = self.path(classifier)
        found = path.is_file()
        path.unlink(missing_ok=True)
        return found
