"""Which photos a search is about: the contest's, or generated ones; and whether a submission fits them."""

from __future__ import annotations

from pathlib import Path

from automl_car.config import Config
from automl_car.data.index import read_dataset
from automl_car.data.parallel import processors
from automl_car.data.sample import write_sample
from automl_car.ensemble.submission_check import check_submission
from automl_car.pipeline.excluding import excluded_photos
from automl_car.pipeline.outcome import View
from automl_car.records import Dataset
from automl_car.workspace import Workspace


def read_photos(workspace: Workspace, config: Config, *, sample: bool, view: View) -> Dataset:
    """Find the photos and labels; no photo is opened.

    Args:
        sample: generate the photos of fictional cars, if they are not there, and take those.

    Raises:
        DataError: files are missing or contradict each other.
    """
    if sample:
        view.note(f"sample photos of fictional cars: {workspace.sample}")
        write_sample(workspace.sample, seed=0, workers=processors())
    return _read(workspace, workspace.sample if sample else workspace.data(config), config)


def workspace_photos(workspace: Workspace, config: Config) -> Dataset:
    """The workspace's own photos; no photo is opened.

    Raises:
        DataError: as `read_photos`.
    """
    return _read(workspace, workspace.data(config), config)


def lint(workspace: Workspace, config: Config, submission: Path) -> tuple[str, ...]:
    """The problems of a submission file; none when it is as the contest's sample submission wants it.

    Raises:
        DataError: the data folder or its sample submission is missing.
    """
    return check_submission(submission, _read(workspace, workspace.data(config), config))


def _read(workspace: Workspace, directory: Path, config: Config) -> Dataset:
    data = config.data
    return read_dataset(
        directory,
        train=data.train,
        test=data.test,
        sample_submission=data.sample_submission,
        class_aliases=data.class_aliases,
        exclude=excluded_photos(workspace.root, data.exclude),
        follow_links=data.follow_links,
    )
