"""Trains folds in processes of their own on this machine."""

from automl_car import ExecutorKind, hookimpl


def build(context):
    """Return an executor of this machine."""
    from automl_car.errors import ConfigError
    from automl_car.search.fleet import Fleet

    if context.address:
        raise ConfigError(
            f"`search.address` is `{context.address}`, and the executor `local` trains on this machine.",
            hint="leave the address out, or choose another executor: --executor ray",
        )
    return Fleet(context.watch, context.log, context.workers)


@hookimpl
def register_executors():
    return [ExecutorKind("local", build, about="processes of this machine")]
