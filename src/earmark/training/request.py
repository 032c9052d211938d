"""What a training was asked for: a typed value, kept in its checkpoint so that it can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.bundled import ESC10
from earmark.config import FrontEndSettings, from_json
from earmark.config.codec import check_types
from earmark.data.cache.store import FeatureCache
from earmark.data.prepare import DatasetRequest, Reporter, extract_features, refuse_failures
from earmark.data.splits import Split, read_split
from earmark.errors import SettingsError

_EARLIER_WORDS = ("box", "bundled")  # for the model of ESC-10, which was the bundled one
_OF_DATASETS = ("folds", "esc10", "allow_incomplete")  # once beside the dataset's name


@dataclass(frozen=True)
class TrainingRequest:
    """What to train on and what to begin with; the recipe's settings stand beside it.

    Attributes:
        dataset: the dataset to read; None: a split file is trained on.
        splits_dir: folder of the split files.
        split_index: number of the split, or of the fold that is tested; -1: all clips are trained
            on and nothing is tested.
        front_end: how frames are made of a dataset.
        recipe: name of the recipe.
        init: model directory to start from, or the words base or esc10; None: from nothing.
        teachers: folders of the runs that teach.
        precision: mixed precision, in accelerate's words; None: as accelerate is set up.
    """

    dataset: DatasetRequest | None
    splits_dir: str
    split_index: int
    front_end: FrontEndSettings
    recipe: str = "documented"
    init: str | None = None
    teachers: tuple[str, ...] = ()
    precision: str | None = None

    def __post_init__(self) -> None:
        check_types(self)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is read, or what earlier versions wrote, as the fields of now.

        Earlier versions had the dataset's path and how it is read beside the other values.
        """
        fields = {key: value for key, value in values.items() if key not in _OF_DATASETS}
        dataset = fields.get("dataset")
        if isinstance(dataset, str):
            dataset = {"path": dataset, **{key: values[key] for key in _OF_DATASETS}}
        if dataset is not None:
            fields["dataset"] = from_json(DatasetRequest, dataset)
        if fields.get("init") in _EARLIER_WORDS:  # a folder of that name stood there as its path
            fields["init"] = ESC10
        return {"precision": None, **fields}


def load_split(
    request: TrainingRequest,
    reporter: Reporter | None = None,
    *,
    cache: FeatureCache | None = None,
) -> Split:
    """Read the split file, or extract the features of the dataset, that a request names.

    Args:
        request: what to train on.
        reporter: is told about the dataset as it is read.
        cache: where features are looked for and kept; None: the user's.

    Raises:
        SplitError, DatasetError: it cannot be read.
        SettingsError: the dataset has no such fold.
        EarmarkError: some files cannot be read, and the request does not allow that.
    """
    index, reporter = request.split_index, reporter or Reporter()
    if request.dataset is None:
        return read_split(
            Path(request.splits_dir),
            index,
            cache=cache,
            watch=reporter.watch,
            remark=reporter.remark,
        )
    dataset = extract_features(
        request.dataset, request.front_end, tested=index >= 0, reporter=reporter, cache=cache
    )
    if dataset.left_out:
        reporter.remark(dataset.left_out)
    refuse_failures(dataset, request.dataset, "nothing was trained")
    if index < 0:
        return dataset.whole()
    if index >= len(dataset.fold_names):
        raise SettingsError(
            f"{request.dataset.path}: has {len(dataset.fold_names)} folds; "
            f"--split_index may be 0 to {len(dataset.fold_names) - 1}"
        )
    return dataset.split(index)
