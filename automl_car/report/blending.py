"""What was combined, as a table and as plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.ensemble.blending import Blend
    from automl_car.ensemble_records import Ensemble


def print_blend(blend: Blend) -> None:
    """The weight of each file, what the blend is worth, if that is known, and where it is."""
    console = new_console()
    if blend.ensemble is not None:
        _print_fitted(console, blend, blend.ensemble)
    else:
        table = new_table("file", "weight", right=("weight",))
        for name, weight in blend.weights.items():
            table.add_row(name, f"{weight:.3f}")
        console.print(table)
        console.print(
            f"{blend.pool} mean of {len(blend.weights)} files, {blend.weighting} weights; log loss not measured",
            soft_wrap=True,
        )
    console.print(f"blend: {blend.output}", soft_wrap=True)


def _print_fitted(console: Console, blend: Blend, ensemble: Ensemble) -> None:
    numbers = ("weight", "temperature", "log loss", "gain")
    table = new_table("file", *numbers, right=numbers)
    for member in ensemble.members:
        cells = (f"{member.weight:.3f}", f"{member.temperature:.2f}", f"{member.log_loss:.4f}", f"{member.gain:.4f}")
        table.add_row(member.name, *cells)
    console.print(table)
    left_out = [name for name in blend.names if name not in blend.weights]
    if left_out:
        console.print(f"left out, as they add nothing: {', '.join(left_out)}", soft_wrap=True)
    mean = f"{blend.pool} mean" if len(ensemble.members) > 1 else "one file alone"
    console.print(
        f"log loss {ensemble.nested_log_loss:.4f} ± {1.96 * ensemble.standard_error:.4f} on {ensemble.rows} "
        f"out-of-fold rows, cross-fitted: each row by weights and calibration that were fitted without it "
        f"(best file alone {ensemble.best_single:.4f}); {mean}, temperature {ensemble.temperature:.2f}",
        soft_wrap=True,
    )


def blend_json(blend: Blend) -> dict[str, Any]:
    """What `blend --json` prints."""
    return {
        "output": str(blend.output),
        "rows": len(blend.form.ids),
        "columns": len(blend.form.columns),
        "weighting": blend.weighting,
        "pool": blend.pool,
        "weights": dict(blend.weights),
        "left_out": [name for name in blend.names if name not in blend.weights],
        "fit": _fit_json(blend.ensemble) if blend.ensemble else None,
    }


def _fit_json(ensemble: Ensemble) -> dict[str, Any]:
    """`log_loss` is the cross-fitted one."""
    numbers = ("name", "weight", "temperature", "log_loss", "gain")
    return {
        "log_loss": ensemble.nested_log_loss,
        "standard_error": ensemble.standard_error,
        "best_single": ensemble.best_single,
        "out_of_fold_rows": ensemble.rows,
        "temperature": ensemble.temperature,
        "uniform": ensemble.uniform,
        "members": [{name: getattr(member, name) for name in numbers} for member in ensemble.members],
    }
