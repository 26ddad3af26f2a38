"""Ray: each fold is a Ray task, on this machine or on a cluster whose nodes may come and go.

https://docs.ray.io (Moritz et al., 2018, arXiv:1712.05889)
"""

from automl_car import ExecutorKind, Setting, hookimpl


def build(context, *, cpus, gpus, at_least):
    """Return an executor on the cluster that the address names, or on a Ray of this machine."""
    from automl_car.search.on_ray import open_ray
    from automl_car.search.ray_cluster import Share

    return open_ray(context, Share(cpus, gpus, at_least))


@hookimpl
def register_executors():
    return [
        ExecutorKind(
            "ray",
            build,
            settings=(
                Setting("cpus", 0, "cores of a fold; 0: all of the smallest node, divided by its GPUs"),
                Setting("gpus", -1.0, "GPUs of a fold, such as 1 or 0.5; -1: 1 where a node has one"),
                Setting("at_least", 1, "folds asked for at a time, for a cluster that grows on demand"),
            ),
            needs=("ray",),
            install="automl-car[ray]",
            about="Ray, on this machine or a cluster",
        )
    ]
