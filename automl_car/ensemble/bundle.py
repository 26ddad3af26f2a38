"""What a bundle says of itself: frozen records; `bundle_files` writes and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from automl_car.bundle_records import BundleMember
from automl_car.ensemble.calibration import Calibration
from automl_car.ensemble.fitting import FittedPool
from automl_car.ensemble.pool import PoolKind
from automl_car.records import SubmissionFormat


@dataclass(frozen=True)
class BundlePlugin:
    """A plugin that builds networks of the bundle.

    Attributes:
        name, origin, location: as `automl-car plugins` lists it.
        version: of its distribution; for a single file the first 8 digits of its sha256; empty for bundled ones.
        backbones: of the bundle that it builds.
        file: its copy in the bundle; empty for one that is installed or comes with automl-car.
    """

    name: str
    origin: str
    location: str
    version: str
    backbones: tuple[str, ...]
    file: str = ""


@dataclass(frozen=True)
class Measured:
    """How good the bundle is, and what says so.

    Attributes:
        log_loss: nested, out of fold.
        standard_error: of it.
        rows: training photos that it is measured on.
        photos: fingerprint of photos, labels and folds.
        note: why those are not all of them; empty where they are.
        milliseconds: that the networks took per photo, where a budget was set; else None.
        difference: mean distance (half the sum of absolute differences) of a few test photos' probabilities to those of
            the study; None where it has no test photos at hand.
        refit: whether the networks were trained on all photos; the log loss is then that of those of the folds.
    """

    log_loss: float
    standard_error: float
    rows: int
    photos: str
    note: str = ""
    milliseconds: float | None = None
    difference: float | None = None
    refit: bool = False


@dataclass(frozen=True)
class Bundle:
    """What bundle.json says.

    Attributes:
        study: where it comes from.
        class_names: in the order of all probabilities.
        class_shares: share of each class in the training photos: the answer to a photo that cannot be decoded.
        form: columns of a prediction file, without ids.
        members, pool, temperature, uniform: see `records.Ensemble`.
        short_side: pixels that the short side of a larger photo is reduced to before all else.
        plugins: that build the networks.
        measured: how good it is.
        versions: of the packages that made it.
    """

    study: str
    class_names: tuple[str, ...]
    class_shares: tuple[float, ...]
    form: SubmissionFormat
    members: tuple[BundleMember, ...]
    pool: PoolKind
    temperature: float
    uniform: float
    short_side: int
    plugins: tuple[BundlePlugin, ...]
    measured: Measured
    versions: Mapping[str, str]

    @property
    def fitted(self) -> FittedPool:
        """All numbers that turn the members' logits into probabilities."""
        return FittedPool(
            tuple(range(len(self.members))),
            tuple(member.temperature for member in self.members),
            self.pool,
            tuple(member.weight for member in self.members),
            Calibration(self.temperature, self.uniform),
        )
