"""TensorBoard: curves of every fold, a table of trials with their parameters, and the ensemble so far.

`tensorboard --logdir trackers/tensorboard` shows them. Nothing but TensorBoard itself is needed, no torch either.
"""

from pathlib import Path

from automl_car import Tracker, events, hookimpl


def follow(search):
    """Return a function that writes each event into event files below `search.folder`/<study>."""
    folder = search.folder / search.study
    overall, folds, best = _Run(folder / "search"), {}, []

    def tell(event):
        match event:
            case events.EpochEnded(trial=trial, fold=fold, epoch=epoch):
                if (trial, fold) not in folds:
                    folds[trial, fold] = _Run(folder / f"trial-{trial:04}" / f"fold-{fold}")
                folds[trial, fold].write(
                    epoch, {"epoch/log loss": event.log_loss, "epoch/train loss": event.train_loss}
                )
            case events.FoldEnded(trial=trial, fold=fold, log_loss=log_loss):
                overall.write(trial, {f"fold/{fold} log loss": log_loss})
            case events.TrialEnded(trial=trial):
                for key in [key for key in folds if key[0] == trial]:
                    folds.pop(key).close()
                if event.log_loss is not None:
                    best.append(min([event.log_loss, *best[-1:]]))
                    overall.write(trial, {"trial/log loss": event.log_loss, "trial/best log loss": best[-1]})
                run = _Run(folder / f"trial-{trial:04}")
                run.write_params(event)
                run.close()
            case events.EnsembleBuilt(log_loss=log_loss, low=low, high=high):
                values = {"ensemble/log loss": log_loss, "ensemble/low": low, "ensemble/high": high}
                overall.write(len(best), values)  # by complete trials
            case events.SearchEnded():
                for run in (overall, *folds.values()):
                    run.close()

    return tell


class _Run:
    """One line of TensorBoard's list of runs."""

    def __init__(self, folder: Path):
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))
        self.close = self._writer.close

    def write(self, step, values):
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(step, [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])

    def write_params(self, event):
        """For the HPARAMS tab: what was chosen, and what it came to."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        params = {name: _plain(value) for name, value in event.params.items()}
        began = plugin_data_pb2.SessionStartInfo(group_name=f"trial {event.trial}")
        for name, value in params.items():
            kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
            setattr(began.hparams[name], kind, value)
        done = api_pb2.STATUS_SUCCESS if event.state == "complete" else api_pb2.STATUS_FAILURE
        metric = api_pb2.MetricInfo(name=api_pb2.MetricName(tag="trial log loss"))
        infos = [api_pb2.HParamInfo(name=name, type=_type(value)) for name, value in params.items()]
        told = {
            metadata.EXPERIMENT_TAG: {"experiment": api_pb2.Experiment(hparam_infos=infos, metric_infos=[metric])},
            metadata.SESSION_START_INFO_TAG: {"session_start_info": began},
            metadata.SESSION_END_INFO_TAG: {"session_end_info": plugin_data_pb2.SessionEndInfo(status=done)},
        }
        values = []
        for tag, content in told.items():
            data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
            values.append(Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data)))
        self._add(0, values)
        if event.log_loss is not None:
            self.write(0, {"trial log loss": event.log_loss})

    def _add(self, step, values):
        import time

        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=values)))
        self._writer.flush()


def _plain(value):
    return value if isinstance(value, bool | int | float | str) else str(value)


def _type(value):
    from tensorboard.plugins.hparams import api_pb2

    kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
    return kinds.get(type(value), api_pb2.DATA_TYPE_FLOAT64)


@hookimpl
def register_trackers():
    return [
        Tracker(
            "tensorboard",
            follow,
            needs=("tensorboard",),
            install="automl-car[tensorboard]",
            about="TensorBoard, event files in trackers/tensorboard",
        )
    ]
