"""What a backbone or an augmentation is, as `automl-car plugins show` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from automl_car.catalog.hub import repository_of
from automl_car.catalog.params import Param
from automl_car.catalog.records import Augmentation, Backbone
from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.catalog.manager import PluginInfo


def offer_json(record: Backbone | Augmentation, plugin: PluginInfo) -> dict[str, Any]:
    """A backbone or an augmentation, and the plugin that brings it, as plain JSON values."""
    facts = {
        "name": record.name,
        "kind": "backbone" if isinstance(record, Backbone) else "augmentation",
        "plugin": {
            "name": plugin.name,
            "origin": plugin.origin,
            "place": plugin.place or plugin.location,
            "version": plugin.version,
        },
        "source": record.source,
        "params": [param.to_json() for param in record.params],
    }
    return facts | _network(record) if isinstance(record, Backbone) else facts


def _network(backbone: Backbone) -> dict[str, Any]:
    here = backbone.find_weights() if backbone.find_weights else None
    return {
        "license": backbone.license,
        "image_size": backbone.image_size,
        "default_lr": backbone.default_lr,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "crop_pct": backbone.crop_pct,
        "interpolation": backbone.interpolation,
        "weights": {
            "date": backbone.weights_date,
            "file": None if here is None else str(here),
            "here": here is not None or backbone.find_weights is None,
            "hub": repository_of(backbone.find_weights),
        },
    }


def print_offer(record: Backbone | Augmentation, plugin: PluginInfo) -> None:
    """The same for people: a line for each fact, then a table of the parameters."""
    facts = offer_json(record, plugin)
    lines = new_table("", "")
    lines.show_header = False
    version = f", version {plugin.version}" if plugin.version else ""
    lines.add_row(facts["kind"], Text(record.name, style="bold"))
    lines.add_row("plugin", f"{plugin.name} ({plugin.origin}: {facts['plugin']['place']}{version})")
    lines.add_row("source", record.source or Text("not named", style="yellow"))
    if isinstance(record, Backbone):
        for name, value in _network_lines(record, facts["weights"]).items():
            lines.add_row(name, value)
    console = new_console()
    console.print(lines)
    if record.params:
        table = new_table("parameter", "values", "default", "in Optuna")
        for param in record.params:
            table.add_row(param.name, _values(param), f"{param.default}", f"{record.name}.{param.name}")
        console.print()
        console.print(table)


def _network_lines(backbone: Backbone, weights: dict[str, Any]) -> dict[str, str | Text]:
    numbers = {"mean": backbone.mean, "std": backbone.std}
    return {
        "licence": backbone.license or Text("not named", style="yellow"),
        "image size": f"{backbone.image_size} px ({backbone.interpolation}; pretrained with a crop of "
        f"{backbone.crop_pct:g})",
        "learning rate": f"{backbone.default_lr:g}, times what is searched",
        "normalisation": "; ".join(
            f"{name} {', '.join(f'{value:g}' for value in values)}" for name, values in numbers.items()
        ),
        "weights": _where(weights),
        "weights of": weights["date"] or Text("unknown: `catalog.weights_before` leaves it out", style="yellow"),
    }


def _where(weights: dict[str, Any]) -> str | Text:
    if weights["file"]:
        return str(weights["file"])
    if weights["here"]:
        return "with the plugin, which names no file"
    hub = f"; a search that names the backbone fetches {weights['hub']} from the hub" if weights["hub"] else ""
    return Text(f"not on this machine{hub}", style="yellow")


def _values(param: Param) -> str:
    if param.kind == "choice":
        return " | ".join(str(choice) for choice in param.choices)
    kind = "whole numbers" if param.kind == "int" else "numbers"
    return f"{kind} from {param.low:g} to {param.high:g}{', logarithmic' if param.log else ''}"
