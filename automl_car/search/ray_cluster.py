"""A connection with a cluster of Ray: what its nodes have now, and how much of that a fold takes."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from automl_car.errors import MachineError

CLIENT = "ray://"
_STORE_BYTES = 100 * 2**20  # of a Ray of this machine, for objects: epochs and results are a few kilobytes
_PING_SECONDS = 5.0
_AGAIN = "and run the same command again; what is finished is kept."


@dataclass(frozen=True)
class Share:
    """What the settings say of a fold's share of a cluster.

    Attributes:
        cpus, gpus: see `pick_needs`.
        at_least: folds that are handed to Ray at a time, though fewer may have room; a cluster that grows on demand
            grows for those that wait.
    """

    cpus: int = 0
    gpus: float = -1.0
    at_least: int = 1


@dataclass(frozen=True)
class Needs:
    """What a fold takes of a node: cores, and GPUs."""

    cpus: int
    gpus: float

    def slots(self, node: dict[str, float]) -> int:
        """How many folds a node has room for, when nothing else runs there.

        Example:
            >>> Needs(4, 1).slots({"CPU": 16.0, "GPU": 8.0}), Needs(4, 0).slots({"CPU": 16.0})
            (4, 4)
        """
        by_gpus = node.get("GPU", 0.0) // self.gpus if self.gpus else float("inf")
        return int(min(node.get("CPU", 0.0) // self.cpus, by_gpus))


def pick_needs(nodes: Sequence[dict[str, float]], cpus: int, gpus: float) -> Needs:
    """What a fold takes, where the settings leave it to the nodes that are there.

    Where any node has a GPU, folds are trained on GPUs alone: those of one search should come from one kind of device.

    Args:
        nodes: resources of each by their name in Ray.
        cpus: of a fold; 0: all of the smallest node, divided by the folds that its GPUs have room for.
        gpus: of a fold; -1: one where a node has one.

    Example:
        >>> pick_needs([{"CPU": 64, "GPU": 8}, {"CPU": 32}], 0, -1)
        Needs(cpus=8, gpus=1.0)
        >>> pick_needs([{"CPU": 8}, {"CPU": 2}, {"CPU": 0}], 0, -1)
        Needs(cpus=2, gpus=0.0)
    """
    share = gpus if gpus >= 0 else 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    usable = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= share]
    folds = [max(1.0, node.get("GPU", 0) // share) if share else 1.0 for node in usable]
    fair = [int(node["CPU"] // count) for node, count in zip(usable, folds, strict=True)]
    return Needs(cpus or max(1, min(fair, default=1)), float(share))


class Cluster:
    """A connection that is open.

    Attributes:
        needs: of a fold; they stay as they were when the connection was opened.
        remote: whether it goes through Ray Client, whose tasks tell nothing before they end.
    """

    def __init__(self, ray: Any, address: str, share: Share, *, ours: bool) -> None:
        self.ray = ray
        self.remote = address.startswith(CLIENT)
        self._address = address
        self._ours = ours
        self._nodes = self._count()
        self.needs = pick_needs(self._nodes, share.cpus, share.gpus)
        self._at_least = max(1, share.at_least)
        self._head = "" if self.remote else str(ray.get_runtime_context().gcs_address)

    def refresh(self) -> None:
        """Count the nodes anew; this waits for ever where the head does not answer."""
        self._nodes = self._count()

    def _count(self) -> tuple[dict[str, float], ...]:
        """Resources of each node that is alive."""
        return tuple(dict(node["Resources"]) for node in self.ray.nodes() if node["Alive"])

    def slots(self) -> int:
        """Folds that all nodes had room for at the last count, and not less than `at_least`, as nodes may come."""
        return max(self._at_least, sum(self.needs.slots(node) for node in self._nodes))

    def describe(self) -> str:
        """What there is, in a sentence for a person."""
        nodes, slots = self._nodes, sum(self.needs.slots(node) for node in self._nodes)
        where = "this machine" if not self._address else f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}"
        gpus = f" and {self.needs.gpus:g} GPU" if self.needs.gpus else ""
        fold = f"{self.needs.cpus} core{'s' if self.needs.cpus != 1 else ''}{gpus}"
        if not slots:
            return f"Ray, {where}: no node has {fold} for a fold; the search waits until one joins"
        return f"Ray, {where}: {slots} fold{'s' if slots != 1 else ''} at a time, each with {fold}"

    def answers(self) -> bool:
        """Whether the head can be reached."""
        return not self._head or _listens(self._head)  # Ray Client raises an error by itself

    def close(self) -> None:
        """Hang up, if the connection was made here."""
        if self._ours:
            self.ray.shutdown()


def connect(address: str, share: Share) -> Cluster:
    """Connect with a cluster, or start a Ray of this machine.

    Args:
        address: empty: this machine; "auto": the cluster that it belongs to; else "host:port" or "ray://host:port".
        share: see there.

    Raises:
        MachineError: there is no cluster, or its Ray or Python is another one than here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray that is started here would report its use
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # or else threads that come too late start another one
    import ray

    ours = not ray.is_initialized()
    if address.rpartition(":")[2].isdigit() and not _listens(address.removeprefix(CLIENT)):
        raise _unreachable(address, ConnectionError("nobody listens there"))  # Ray would wait for minutes
    if ours:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        try:
            ray.init(address or "local", **quiet, **({} if address else here))
        except Exception as error:  # of many kinds, from ConnectionError to RuntimeError
            raise _unreachable(address, error) from error
    return Cluster(ray, address, share, ours=ours)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PING_SECONDS).close()
    except OSError:
        return False
    return True


def _unreachable(address: str, error: Exception) -> MachineError:
    words = str(error).strip().partition("\n")[0]
    if not address:
        return MachineError(f"Ray cannot be started on this machine: {type(error).__name__}: {words}")
    return MachineError(
        f"There is no cluster of Ray at `{address}`: {type(error).__name__}: {words}",
        hint=f"look at it with `ray status --address {address}` {_AGAIN}",
    )
