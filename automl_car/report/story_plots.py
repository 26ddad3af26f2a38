"""Plots of a story as PNG files: when trials ran, how members learnt, and what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from automl_car.report.plots import as_png, quiet_matplotlib
from automl_car.report.story import Curves, ToldTrial

if TYPE_CHECKING:
    import optuna

_COLOURS = {"complete": "#4878a8", "pruned": "#dd9b4f", "failed": "#c44e52", "stopped": "#999999", "running": "#66a182"}
_MOST_PARAMETERS = 8  # axes that can still be told apart


def timeline_plot(trials: Sequence[ToldTrial]) -> bytes:
    """A bar for each trial from its beginning to its end, coloured by how it ended; a PNG."""
    quiet_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    timed = [trial for trial in trials if trial.began is not None and trial.ended is not None]
    figure = Figure(figsize=(9.6, 1.6 + 0.09 * len(timed)), layout="constrained")
    axes = figure.subplots()
    for trial in timed:
        assert trial.began is not None
        assert trial.ended is not None
        left, width = trial.began / 60, (trial.ended - trial.began) / 60
        axes.barh(trial.number, width, left=left, height=0.8, color=_COLOURS.get(trial.state, "#999999"))
    axes.set_ylim(max(trial.number for trial in timed) + 0.7, -0.7)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="minutes since the first trial began", ylabel="trial")
    states = [state for state in _COLOURS if any(trial.state == state for trial in timed)]
    axes.legend(handles=[Patch(color=_COLOURS[state], label=state) for state in states], frameon=False, loc="best")
    return as_png(figure)


def curves_plot(curves: Sequence[Curves]) -> bytes:
    """Learning curves, a panel for each member and a line for each fold; a PNG."""
    quiet_matplotlib()
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(max(4.8, 3.2 * columns), 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, member in zip(panels, curves, strict=False):
        for fold, losses in sorted(member.by_fold.items()):
            axes.plot(range(1, len(losses) + 1), losses, linewidth=1.2, marker=".", label=f"fold {fold}")
        axes.set_title(f"{member.name}\n{member.backbone}", fontsize="small")
        axes.set(xlabel="epoch", ylabel="log loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 2 + 2 * columns), frameon=False)
    return as_png(figure)


def parallel_plot(study: optuna.Study, parameters: Sequence[str]) -> bytes:
    """Optuna's parallel coordinates of the complete trials; a PNG.

    Args:
        parameters: that all of them have, the most important first.
    """
    quiet_matplotlib()
    import warnings

    import matplotlib as mpl

    mpl.use("Agg")  # Optuna draws with pyplot, which would look for a screen
    import matplotlib.pyplot as plt
    import optuna.visualization.matplotlib as drawing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna, that the function may change; of matplotlib, about its layout
        shown = list(parameters[:_MOST_PARAMETERS])
        axes = drawing.plot_parallel_coordinate(study, params=shown, target_name="log loss")
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.set_size_inches(9.6, 4.8)
        data = as_png(figure, whole=True)
    plt.close(figure)
    return data
