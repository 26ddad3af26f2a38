"""Pictures for docs/scale.md from what other benchmarks print with `--json`.

python benchmarks/plots.py [--swarm NAME=FILE …] [--images FILE] [--to docs/pictures]

    swarm.svg    from swarm.py: share of the time that workers are busy, the driver's share of a core, and the time of
                 an ask, as a study grows; a line for each FILE, called NAME
    images.svg   from images.py: seconds and megabytes of each step, as the photos become more
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "automl-car", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
SMALL = 1.0  # seconds; steps that never take so long are not drawn


def main() -> None:
    """Draw what is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swarm", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    if options.swarm:
        files = dict(pair.split("=", 1) for pair in options.swarm)
        swarms = {name: json.loads(Path(file).read_text(encoding="utf-8")) for name, file in files.items()}
        write(options.to / "swarm.svg", draw_swarms, swarms)
    if options.images:
        write(options.to / "images.svg", draw_images, json.loads(options.images.read_text(encoding="utf-8")))


def write(path: Path, draw: Any, rows: Any) -> None:
    """Draw into an SVG file that is the same whenever the rows are."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        draw(figure, rows)
        figure.savefig(path, format="svg", metadata={"Date": None})
    print(path)


def draw_swarms(figure: Figure, swarms: Mapping[str, Rows]) -> None:
    """Three panels; the last row of each swarm, which is of all trials, is left out."""
    panels = figure.subplots(1, 3)
    for name, rows in swarms.items():
        tenths = rows[:-1]
        trials = [row["trials"] for row in tenths]
        for axes, column, scale in zip(panels, ("busy", "driver", "ask"), (100, 100, 1), strict=True):
            axes.plot(trials, [scale * row[column] for row in tenths], marker=".", label=name)
    titles = ("workers busy, %", "driver, % of a core", "an ask, ms")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlabel="trials")
        axes.set_ylim(bottom=0)
    panels[0].set_ylim(0, 100)
    panels[0].legend(loc="lower left")


def draw_images(figure: Figure, rows: Rows) -> None:
    """Two panels with a line for each step that takes long at any size."""
    panels = figure.subplots(1, 2)
    photos = [row["photos"] for row in rows]
    for steps in zip(*(row["steps"] for row in rows), strict=True):
        if max(step["seconds"] for step in steps) >= SMALL:
            label = steps[0]["name"] + (" (~)" if any(step["computed"] for step in steps) else "")
            panels[0].plot(photos, [step["seconds"] for step in steps], marker=".", label=label)
            panels[1].plot(photos, [max(step["megabytes"], 0.1) for step in steps], marker=".")
    for axes, title in zip(panels, ("seconds", "megabytes above the start"), strict=True):
        _on_logarithms(axes, title)
    figure.legend(loc="outside right upper", fontsize=7)


def _on_logarithms(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="photos", xscale="log", yscale="log")


if __name__ == "__main__":
    main()
