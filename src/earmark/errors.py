"""The errors Earmark raises on purpose.

Each message is one line that names the file or setting, the fault and the remedy, because the
command line prints it as it is, without a traceback.
"""


class EarmarkError(Exception):
    """Base of every error that is the input's fault rather than a bug."""


class SettingsError(EarmarkError):
    """A setting is out of range or contradicts another."""


class AudioError(EarmarkError):
    """An audio file cannot be used: missing, truncated, silent, not audio."""


class DatasetError(EarmarkError):
    """A folder or table of labelled clips is empty, incomplete or leaks."""


class SplitError(EarmarkError):
    """A split file is missing, unreadable or does not fit the model."""


class ModelError(EarmarkError):
    """A model directory is incomplete, edited, unsafe or too new."""


class RunError(EarmarkError):
    """A training run cannot start or go on."""


class ArchiveError(EarmarkError):
    """An archive cannot be planned, written, read or gone on with."""


class StorageError(EarmarkError):
    """A folder that Earmark adds to is in use by another process."""


class AudioWarning(UserWarning):
    """An audio file is legal but suspicious: it was used, and the line says what to look at.

    Args:
        name: the file.
        note: what is suspicious.
    """

    def __init__(self, name: str, note: str) -> None:
        super().__init__(f"{name}: {note}")
        self.name, self.note = name, note
