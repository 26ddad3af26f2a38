"""Weights & Biases: a run per trial, in the group of its study, written when the trial has ended.

`offline`, the default, uses no network: `wandb sync trackers/wandb/wandb/offline-run-*` uploads later what you choose.
"""

import os
from collections import defaultdict

from automl_car import Setting, Tracker, events, hookimpl

QUIET = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
}


def follow(search, *, project, mode, entity):
    """Return a function that collects events, and writes a run at the end of each trial and of the search."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would report its own errors over the network
    import wandb

    if mode == "online" and not wandb.login(prompt=False):
        raise RuntimeError("nobody is logged in: run `wandb login` first")

    def write(name, kind, config, curves, summary):
        run = wandb.init(
            project=project,
            entity=entity or None,
            mode=mode,
            dir=str(search.folder),
            name=name,
            group=search.study,
            job_type=kind,
            config=dict(config),
            reinit="create_new",
            # The list of installed packages takes longer to read than a head to train: once a search is enough.
            settings=wandb.Settings(**QUIET, x_save_requirements=kind == "ensemble"),
        )
        for step, values in sorted(curves.items()):
            run.log(values, step=step)
        run.summary.update(summary)
        run.finish()

    curves = defaultdict(lambda: defaultdict(dict))  # by trial and epoch
    folds = defaultdict(dict)
    ensembles = {}

    def tell(event):
        match event:
            case events.EpochEnded(trial=trial, fold=fold, epoch=epoch):
                values = {"log_loss": event.log_loss, "train_loss": event.train_loss}
                curves[trial][epoch].update({f"fold_{fold}/{key}": value for key, value in values.items()})
            case events.FoldEnded(trial=trial, fold=fold, log_loss=log_loss):
                folds[trial][f"fold_{fold}/final_log_loss"] = log_loss
            case events.TrialEnded(trial=trial, state=state, log_loss=log_loss, reason=reason):
                summary = {"log_loss": log_loss, "state": state, "reason": reason, **folds.pop(trial, {})}
                write(f"trial {trial}", "trial", event.params, curves.pop(trial, {}), summary)
            case events.EnsembleBuilt(log_loss=log_loss, low=low, high=high):
                ensembles[len(ensembles)] = {"log_loss": log_loss, "low": low, "high": high}
            case events.SearchEnded(reason=reason) if ensembles:
                last = ensembles[len(ensembles) - 1]
                write("ensemble", "ensemble", search.settings, ensembles, {**last, "reason": reason})

    return tell


@hookimpl
def register_trackers():
    return [
        Tracker(
            "wandb",
            follow,
            settings=(
                Setting("project", "automl-car", "where runs go"),
                Setting("mode", "offline", "offline into trackers/wandb, online to the server", ("offline", "online")),
                Setting("entity", "", "user or team; empty is your own"),
            ),
            needs=("wandb",),
            install="automl-car[wandb]",
            about="Weights & Biases, a run per trial",
        )
    ]
