"""The story of a study as Markdown sections: the same text for a terminal and for the page."""

from __future__ import annotations

import math
from collections.abc import Collection

from automl_car.console import duration
from automl_car.report.markdown import plain, table
from automl_car.report.story import Story

_TOP = 10  # trials that are listed
_REASONS = 8  # of pruned and failed trials
_SHORT = 240  # characters of a reason: a pruned trial's are whole


def story_sections(story: Story, pictures: Collection[str]) -> list[str]:
    """Markdown blocks, from the result to the command that comes to the same.

    Args:
        pictures: names of the picture files that there are.
    """
    return [
        *_result(story),
        *_ensemble(story),
        *_trials(story, pictures),
        *_pruning(story),
        *_learning(story, pictures),
        *_parameters(story, pictures),
        *_photos(story),
    ]


def again_sections(story: Story) -> list[str]:
    """What it takes to come to the same once more; the last of the page."""
    known = [f"- {name} {version}" for name, version in sorted(story.versions.items())]
    machine = [f"- trained on {story.machine}"] if story.machine else []
    settings = [f"- `{name}: {value}`" for name, value in story.settings.items()]
    blocks = ["## The same once more", f"```sh\n{story.command}\n```"]
    if settings:
        blocks += ["with these settings (automl-car.yaml), all others at their default:", "\n".join(settings)]
    return [*blocks, "\n".join([*known, *machine])] if known or machine else blocks


def _result(story: Story) -> list[str]:
    built, estimate = story.ensemble, story.ensemble.estimate
    low, high = estimate.interval
    lines = [
        f"**{estimate.log_loss:.4f}** is the log loss out of fold, with {low:.4f} … {high:.4f} as its 95 % interval: "
        "each photo is scored by members, weights and calibration that were chosen without it.",
        f"The best trial alone comes to {built.best_single:.4f}.",
    ]
    if estimate.test_rows and not math.isnan(estimate.test_range[0]):
        low, high = estimate.test_range
        lines.append(
            f"On the {estimate.test_rows} test photos, {estimate.test_log_loss:.4f} is to be expected, and in 95 of "
            f"100 cases something within {low:.4f} … {high:.4f}."
        )
    if story.partial:
        lines.append(f"{story.partial[:1].upper()}{story.partial[1:]}.")
    return ["## The result", "\n".join(f"- {line}" for line in lines)]


def _ensemble(story: Story) -> list[str]:
    built = story.ensemble
    rows = [
        (member.name, member.backbone, f"{member.weight:.3f}", f"{member.log_loss:.4f}", f"{member.gain:.4f}")
        for member in built.members
    ]
    members = table(
        ("member", "backbone", "weight", "log loss alone", "gain"), rows, ("weight", "log loss alone", "gain")
    )
    how = {
        "none": "without calibration, which would not have helped",
        "temperature": f"at a temperature of {built.temperature:.2f}",
    }.get(built.calibration, f"at a temperature of {built.temperature:.2f}, {built.uniform:.2g} of it uniform")
    blocks = [
        "## The ensemble",
        f"A {built.pool} pool of {len(built.members)} trials, {how}. `gain` is what the log loss would rise by "
        "without the member.",
        members,
    ]
    if built.alternatives:
        others = [(other.name, f"{other.log_loss:.4f}") for other in built.alternatives]
        blocks += [_before(built.estimate.choice)]
        blocks += [
            table(("choice", "log loss"), [*others, ("this ensemble", f"{built.nested_log_loss:.4f}")], ("log loss",))
        ]
    return blocks


def _before(choice: float) -> str:
    """What the table of other choices shows; the result above is larger by what the choice among them adds to it."""
    said = "What other choices would have come to, out of fold"
    return (
        f"{said}; the result above has {choice:.4f} more, for the luck of the choice:" if choice >= 5e-5 else said + ":"
    )


def _trials(story: Story, pictures: Collection[str]) -> list[str]:
    counts = ", ".join(f"{story.count(state)} {state}" for state in ("complete", "pruned", "failed", "stopped"))
    blocks = ["## The trials", f"{len(story.trials)} trials: {counts}; {duration(story.seconds)} of training."]
    if "timeline.png" in pictures:
        blocks.append("![When each trial ran, and how it ended](timeline.png)")
    complete = sorted((trial for trial in story.trials if trial.log_loss is not None), key=lambda t: t.log_loss or 0)
    rows = [
        (str(trial.number), f"{trial.log_loss:.4f}", trial.recipe, duration(trial.seconds)) for trial in complete[:_TOP]
    ]
    return [*blocks, table(("trial", "log loss", "recipe", "time"), rows, ("trial", "log loss"))] if rows else blocks


def _pruning(story: Story) -> list[str]:
    ended = [trial for trial in story.trials if trial.reason and trial.state in ("pruned", "failed")]
    if not ended:
        return []
    folds, seconds = story.saved
    all_of_them = story.folds * len(story.trials)
    rows = [(str(trial.number), trial.state, _cut(trial.reason)) for trial in ended[:_REASONS]]
    more = f"; {len(ended) - _REASONS} more are in trials.csv" if len(ended) > _REASONS else ""
    return [
        "## What was not trained to its end",
        f"Pruning spared {folds} of {all_of_them} folds, about {duration(seconds)} of training{more}.",
        table(("trial", "state", "why"), rows, ("trial",)),
    ]


def _learning(story: Story, pictures: Collection[str]) -> list[str]:
    if "curves.png" not in pictures:
        return []
    return [
        "## How the members learnt",
        "Log loss of the fold's own photos after each epoch, one line a fold, after the temperature that fits it.",
        "![Learning curves of the members](curves.png)",
    ]


def _parameters(story: Story, pictures: Collection[str]) -> list[str]:
    blocks = []
    if story.importances:
        rows = [(name, f"{100 * share:.0f} %") for name, share in story.importances]
        blocks += [
            "Share of the spread of the complete trials' log losses that each parameter explains (fANOVA, by Optuna). "
            "It is about what this search tried, and says nothing about ranges that it did not.",
            table(("parameter", "share"), rows, ("share",)),
        ]
    if "parallel.png" in pictures:
        blocks.append("![Parameters of the complete trials, each a line](parallel.png)")
    return ["## What mattered", *blocks] if blocks else []


def _photos(story: Story) -> list[str]:
    return ["## The photos", "\n".join(f"- {plain(line)}" for line in story.audit)] if story.audit else []


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"
