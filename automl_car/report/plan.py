"""What a search will cost, as a table and as plain JSON values."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from rich.text import Text

from automl_car.console import duration
from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.pipeline.planning import Plan, PlanRow


def print_plan(plan: Plan) -> None:
    """What each recipe costs, what reading the photos costs, and the sum."""
    console = new_console()
    console.print(
        f"{plan.photos} training and {plan.test_photos} test photos, {plan.classes} classes, {plan.folds} folds, "
        f"{plan.trials} trials on {plan.machine.name} with {plan.machine.cores} cores"
    )
    numbers = ("px", "images/s", "features, once", "epoch", "trial", "memory")
    table = new_table("backbone", "tuning", *numbers, right=numbers)
    for row in plan.rows:
        table.add_row(*_cells(row))
    console.print(table)
    for row in plan.rows:
        if row.problem:
            console.print(Text(f"{row.backbone}, {row.tuning}: {row.problem}", style="yellow"), soft_wrap=True)
    survey = plan.survey
    console.print(f"reading the photos, once: {duration(survey.seconds)}, {survey.bytes / 1e9:.2f} GB on the disk")
    console.print(_sum(plan), soft_wrap=True)


def plan_json(plan: Plan) -> dict[str, Any]:
    """What `search --plan --json` prints; all times in seconds."""
    return dataclasses.asdict(plan)


def _cells(row: PlanRow) -> tuple[str, ...]:
    if row.problem:
        return (row.backbone, row.tuning, str(row.image_size), "", "", "", "", "")
    epochs = f"{row.epochs} epochs"
    return (
        row.backbone,
        row.tuning,
        str(row.image_size),
        f"{row.images_per_second:.0f}",
        duration(row.features_seconds),
        _short(row.epoch_seconds),
        f"{duration(row.trial_seconds)} ({epochs})",
        f"{row.peak_memory_bytes / 1e9:.1f} GB",
    )


def _short(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else duration(seconds)


def _sum(plan: Plan) -> str:
    if math.isinf(plan.longest):
        return "nothing could be measured, so there is no sum"
    text = f"the whole search: {duration(plan.longest)} without pruning"
    if plan.shortest < plan.longest:
        text += f", between {duration(plan.shortest)} and that with it"
    if plan.timeout is not None:
        text += f"; the time limit ends it after {duration(plan.timeout)}"
    return text
