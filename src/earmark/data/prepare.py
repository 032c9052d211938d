"""A request for a dataset -> its features: what the commands and the public door share.

No flags and no terminal: what is to be shown is told to a `Reporter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.config import FrontEndSettings
from earmark.config.codec import check_types
from earmark.data.cache.store import FeatureCache
from earmark.data.dataset import FeatureDataset, build_dataset, describe_leaks
from earmark.data.readers import SYNTHETIC, read_dataset, with_negatives
from earmark.data.survey import Survey, survey_clips
from earmark.data.synthetic import sounds
from earmark.errors import EarmarkError, SettingsError

FOLDS = 5
# Whole datasets by name: a download that broke off must not pass for one.
_KNOWN_CLIPS = {"ESC-10": 400, "ESC-50": 2000, "ESC-50 (esc10 rows)": 400, "UrbanSound8K": 8732}


@dataclass(frozen=True)
class DatasetRequest:
    """Which dataset to read, and how.

    Attributes:
        path: a dataset's folder or table, or the word synthetic for the built-in sounds.
        folds: folds to make where the dataset has none; None: the usual number.
        esc10: of ESC-50, take only the classes of ESC-10.
        allow_incomplete: go on though a known dataset lacks clips or some files cannot be read.
        negatives: folders and tables of clips of no class, beside those of the dataset.
        seed: seed of made folds and of the built-in sounds.
    """

    path: str
    folds: int | None = None
    esc10: bool = False
    allow_incomplete: bool = False
    negatives: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if self.folds is not None and self.folds < 2:
            raise SettingsError(f"--folds must be at least 2, got {self.folds}")
        if self.seed < 0:
            raise SettingsError(f"--seed must be at least 0, got {self.seed}")

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is read with what earlier versions did not have."""
        return {"negatives": (), "seed": 0, **values}


class Reporter:
    """Is told about a dataset as it is read; this one keeps it to itself."""

    def tell(self, line: str) -> None:
        """Take a line about what is done."""

    def remark(self, line: str) -> None:
        """Take a line about what is legal but may be meant otherwise."""

    def tell_fault(self, line: str) -> None:
        """Take a line about a file that cannot be read."""

    def watch(self, results: Iterable[object], total: int) -> Iterable[object]:
        """Wrap the iteration over `total` clips, to show how far it is."""
        del total
        return results


def extract_features(
    request: DatasetRequest,
    front_end: FrontEndSettings,
    *,
    tested: bool = True,
    reporter: Reporter | None = None,
    cache: FeatureCache | None = None,
) -> FeatureDataset:
    """Read a dataset and extract its features, or find them in the cache.

    Args:
        request: which dataset.
        front_end: how to make frames.
        tested: a fold will be tested; else none are made, and those there are may leak.
        reporter: is told about it.
        cache: where features are looked for and kept; None: the user's.

    Raises:
        EarmarkError: there is no such dataset, or it is incomplete and that is not allowed.
    """
    reporter = reporter or Reporter()
    if request.path == "synthetic":
        reporter.tell(f"generating the built-in synthetic sounds in {SYNTHETIC}/")
        dataset = sounds.write_dataset(Path(SYNTHETIC), seed=request.seed)
    else:
        dataset = read_dataset(Path(request.path), esc10_only=request.esc10)
    there = len(dataset.clips) - dataset.negatives
    whole = _KNOWN_CLIPS.get(dataset.name, there)
    if there != whole and not request.allow_incomplete:
        raise EarmarkError(
            f"{request.path}: has {there} of the {whole} clips of {dataset.name}; "
            "complete it, or accept this with --allow_incomplete"
        )

    dataset = with_negatives(dataset, map(Path, request.negatives))
    for remark in (*dataset.remarks, *describe_leaks(dataset)):
        reporter.remark(remark)
    if dataset.negatives:
        reporter.tell(
            f"{dataset.name}: {dataset.negatives} of {len(dataset.clips)} clips are of no class "
            "(negatives)"
        )

    def watch(results: Iterable[object]) -> Iterable[object]:
        return reporter.watch(results, len(dataset.clips))

    return build_dataset(
        dataset,
        front_end,
        folds=(FOLDS if request.folds is None else request.folds) if tested else 1,
        seed=request.seed,
        progress=watch,
        tell_fault=reporter.tell_fault,
        remark=reporter.remark,
        cache=cache or FeatureCache(),
    )


def survey_dataset(request: DatasetRequest) -> Survey | None:
    """Look at the headers of a dataset's files; see `survey_clips`.

    Raises:
        DatasetError: there is no such dataset.
    """
    if request.path == "synthetic":
        return None
    dataset = read_dataset(Path(request.path), esc10_only=request.esc10)
    return survey_clips(dataset.clips)


def refuse_failures(dataset: FeatureDataset, request: DatasetRequest, what: str) -> None:
    """End with an error when files were left out, once what could be done is done.

    Args:
        dataset: what could be read.
        request: what was asked for.
        what: what became of the rest, for the message.

    Raises:
        EarmarkError: some files could not be read, and that is not allowed.
    """
    if dataset.failures and not request.allow_incomplete:
        raise EarmarkError(
            f"{len(dataset.failures)} of {len(dataset.failures) + len(dataset.clips)} files were "
            f"left out; {what}; mend the files, or accept this with --allow_incomplete"
        )
