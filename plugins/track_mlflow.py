"""MLflow: an experiment per study, a run per trial, in an SQLite file or wherever `uri` says.

`mlflow ui --backend-store-uri sqlite:///trackers/mlflow/mlflow.db` shows them. Without a `uri`, no network is used.
"""

import logging
import os
import time
from collections import defaultdict

from automl_car import Setting, Tracker, events, hookimpl

MOST = 1000  # metrics that a tracking server takes at once
EVERY = 10.0  # seconds between two writes of curves; each is a transaction, and heads have dozens of epochs a second
ENDED = {"complete": "FINISHED", "failed": "FAILED"}  # a pruned or stopped one is KILLED


def follow(search, *, uri, experiment):
    """Return a function that logs each event."""
    client, place = open_experiment(search, uri, experiment or search.study)
    from mlflow.entities import Metric, Param

    def begin(run_name, params):
        run = client.create_run(place, run_name=run_name, tags={"study": search.study, "machine": search.machine})
        values = [Param(key, str(value)) for key, value in params.items()]
        client.log_batch(run.info.run_id, params=values)
        return run.info.run_id

    def metrics(step, values):
        now = int(time.time() * 1000)
        return [Metric(key, value, now, step) for key, value in values.items()]

    def log(run, step, values):
        client.log_batch(run, metrics=metrics(step, values))

    def write_curves(trial):
        written[trial] = time.monotonic()
        waiting = curves.pop(trial, [])
        for first in range(0, len(waiting), MOST):
            client.log_batch(trials[trial], metrics=waiting[first : first + MOST])

    trials, complete = {}, []
    curves, written = defaultdict(list), {}  # by trial: metrics that are not written yet, and when others were
    whole = begin("search", {"trials": search.trials, "device": search.device, "cores": search.cores})

    def tell(event):
        match event:
            case events.TrialBegan(trial=trial, params=params):
                trials[trial], written[trial] = begin(f"trial {trial}", params), time.monotonic()
            case events.EpochEnded(trial=trial, fold=fold, epoch=epoch):
                values = {"log_loss": event.log_loss, "train_loss": event.train_loss}
                curves[trial] += metrics(epoch, {f"fold_{fold}/{key}": value for key, value in values.items()})
                if time.monotonic() - written[trial] >= EVERY:
                    write_curves(trial)
            case events.FoldEnded(trial=trial, fold=fold, log_loss=log_loss, seconds=seconds):
                curves[trial] += metrics(fold, {"fold_log_loss": log_loss, "fold_seconds": seconds})
            case events.TrialEnded(trial=trial, state=state, log_loss=log_loss, reason=reason):
                write_curves(trial)
                run = trials.pop(trial)
                client.set_tag(run, "state", state)
                if reason:
                    client.set_tag(run, "reason", reason)
                if log_loss is not None:
                    complete.append(trial)
                    log(run, 0, {"log_loss": log_loss})
                client.set_terminated(run, ENDED.get(state, "KILLED"))
            case events.EnsembleBuilt(log_loss=log_loss, low=low, high=high):
                values = {"ensemble/log_loss": log_loss, "ensemble/low": low, "ensemble/high": high}
                log(whole, len(complete), values)
            case events.SearchEnded(reason=reason):
                for trial, run in trials.items():
                    write_curves(trial)
                    client.set_terminated(run, "KILLED")
                client.set_terminated(whole, "KILLED" if reason else "FINISHED")

    return tell


def open_experiment(search, uri, name):
    """The client, and the id of the experiment, which is made where it is not there yet."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use over the network
    from mlflow.tracking import MlflowClient

    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)  # the making of its tables is no news
    client = MlflowClient(tracking_uri=uri or f"sqlite:///{search.folder / 'mlflow.db'}")
    known = client.get_experiment_by_name(name)
    where = None if uri else (search.folder / "artifacts").as_uri()
    place = known.experiment_id if known else client.create_experiment(name, artifact_location=where)
    return client, place


@hookimpl
def register_trackers():
    return [
        Tracker(
            "mlflow",
            follow,
            settings=(
                Setting("uri", "", "a tracking server or database; empty is an SQLite file in trackers/mlflow"),
                Setting("experiment", "", "empty is the name of the study"),
            ),
            needs=("mlflow",),
            install="automl-car[mlflow]",
            about="MLflow, a run per trial",
        )
    ]
