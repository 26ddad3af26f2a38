"""Pictures of trials for optuna-dashboard, put there after the trials have ended.

Optuna's own `upload_artifact` refuses trials that have ended. The dashboard also reads attributes of the study that
are named `dashboard:artifacts:<id of the trial>:<id of the artifact>`, which can be written at any time.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Mapping

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial

_PREFIX = "dashboard:artifacts:"
_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def has_artifacts(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether pictures were put to the trial already."""
    names = study._storage.get_study_system_attrs(study._study_id)
    return any(name.startswith(f"{_PREFIX}{trial._trial_id}:") for name in names)


def put_artifacts(
    study: optuna.Study, trial: FrozenTrial, store: FileSystemArtifactStore, files: Mapping[str, bytes]
) -> None:
    """Show files at a trial in optuna-dashboard.

    Args:
        trial: in whatever state.
        store: where the files go; the dashboard must be given the same.
        files: PNG and JPEG files by name.
    """
    for name, data in files.items():
        key = str(uuid.uuid4())
        store.write(key, io.BytesIO(data))
        told = {
            "artifact_id": key,
            "filename": name,
            "mimetype": _TYPES[name[name.rindex(".") :]],
            "encoding": None,
        }
        # After the file: the dashboard never shows what is not there yet.
        study._storage.set_study_system_attr(study._study_id, f"{_PREFIX}{trial._trial_id}:{key}", json.dumps(told))
