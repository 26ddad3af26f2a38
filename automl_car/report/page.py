"""The report as a Markdown page: the numbers, the first rows of each table, the pictures, and what to do next."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from automl_car.report.loss_report import Cells, LossReport, tables
from automl_car.report.markdown import plain, table
from automl_car.report.story import Story
from automl_car.report.story_page import again_sections, story_sections

_MUCH_IN_FEW = 0.3  # of all loss in 1 % of the photos: labels come before models
_MANY_FLAGS = 0.1  # of the photos: seldom are so many labels wrong, and often is a model weak
_TITLES = {
    "confusions": "Classes that are taken for each other",
    "hard_photos": "Photos that cost most",
    "suspects": "Labels that may be wrong",
    "near_duplicates": "The same picture under two labels",
    "classes": "Classes",
    "aliases": "Names that count as one class",
}
_CAPTIONS = {
    "confusions": "`photos back` and `loss back` are those of the same two classes the other way round.",
    "hard_photos": "`cumulative share` is what a photo and those above it make of the loss of all photos.",
    "suspects": "`quality` is the probability of the given label; `flagged` are those that confident learning "
    "estimates to be wrong. These are suggestions: nothing was changed.",
    "near_duplicates": "Photos of a group show the same picture; `exact` ones are the same file.",
    "classes": "`share` is what the photos of a class make of the loss of all photos; `probability` is what the right "
    "class got in the mean.",
    "aliases": "`alias` and `same as` are two names of one class, each with its own photos.",
}
_CALIBRATION = (
    "Of the photos whose highest probability lies in a bin, the bar shows the share that was right. Before calibration "
    "means the members' pool without any temperature, after calibration what the ensemble says."
)
_PICTURES = {"hard_photos": "hard_photos.jpg", "suspects": "suspects.jpg"}


def whole_page(story: Story, report: LossReport, directory: str, pictures: Collection[str]) -> str:
    """The page report.md: what the search did, where the loss comes from, and what to do about it.

    Args:
        story: of the search.
        report: on its loss.
        directory: where the report lies, as a person in the workspace writes it.
        pictures: names of the picture files that lie beside the page.
    """
    blocks = [f"# Study {plain(story.study)}", *story_sections(story, pictures)]
    blocks += ["## Where the log loss comes from", *_loss_sections(report, directory, pictures)]
    return "\n\n".join([*blocks, *again_sections(story)]) + "\n"


def loss_page(report: LossReport, directory: str, pictures: Collection[str]) -> str:
    """The part of the page that is about the loss, as a page of its own; arguments as `whole_page`."""
    title = f"# Where the log loss of study {plain(report.study)} comes from"
    return "\n\n".join([title, *_loss_sections(report, directory, pictures)]) + "\n"


def _loss_sections(report: LossReport, directory: str, pictures: Collection[str]) -> list[str]:
    parts = _headline(report)
    if "reliability.png" in pictures:
        parts += ["## Calibration", _CALIBRATION, "![Reliability diagrams](reliability.png)"]
    found = tables(report)
    for name, title in _TITLES.items():
        if name in found:
            parts += [f"## {title}", *_section(name, found[name], pictures)]
    steps = (f"{index}. {step}" for index, step in enumerate(next_steps(report, directory), 1))
    return [*parts, "## What to do next", "\n".join(steps)]


def headline_sentences(report: LossReport) -> tuple[str, ...]:
    """The loss as a whole, one sentence each."""
    head = report.headline
    sentences = [
        f"Log loss {head.log_loss:.4f} ± {head.interval:.4f} (95 %) out of fold, of {head.photos} photos of "
        f"{head.classes} classes; accuracy {_percent(head.accuracy)}.",
        f"The worst 1 % of the photos make {_percent(head.worst_1_share)} of the loss, the worst 10 % "
        f"{_percent(head.worst_10_share)}; photos that are taken for another class make {_percent(head.wrong_share)}.",
        f"Expected calibration error {report.before.calibration_error:.4f} before calibration, "
        f"{report.after.calibration_error:.4f} after it.",
        f"{report.suspects.flagged} labels are flagged as likely wrong. If all of them were, the log loss without "
        f"those photos is {report.suspects.log_loss_without:.4f}; if all were right, it stays {head.log_loss:.4f}. "
        "The first is a bound and no estimate: hard photos with right labels are flagged too.",
    ]
    return (*sentences, *([f"{_begin(report.partial)}."] if report.partial else []))


def next_steps(report: LossReport, directory: str) -> Iterator[str]:
    """What a person can do about it, in the order of what costs least."""
    if report.suspects.listed:
        yield (
            f"Look at suspects.jpg and `{directory}/suspects.csv`. They are suggestions: **delete the lines of the "
            "photos whose label is right**, and correct labels where you can. Then leave the others out with "
            f"`data: {{exclude: [{directory}/suspects.csv]}}` in automl-car.yaml, and search again from what this "
            f"study found: `automl-car search --study NAME --warm-start {report.study}`."
        )
    if report.suspects.flagged > _MANY_FLAGS * report.headline.photos:
        yield (
            f"{_percent(report.suspects.flagged / report.headline.photos)} of the labels are flagged. So many are "
            "seldom wrong: the ensemble does not tell the classes apart well yet. Trust the first ranks alone, and "
            "report again after a longer search."
        )
    if report.duplicates:
        yield (
            "Settle near_duplicates.csv: of the photos of a group at least one label is wrong, unless the contest "
            "counts the classes as one (`data: {class_aliases: {name: same as}}`)."
        )
    if report.headline.worst_1_share > _MUCH_IN_FEW:
        yield "Few photos make much of the loss: labels and odd photos (hard_photos.jpg) come before better models."
    else:
        yield "The loss is spread over many photos: better models (larger images, larger backbones) come before labels."
    if report.confusions:
        first = report.confusions[0]
        yield (
            f"The costliest confusion is `{_code(first.label)}` taken for `{_code(first.guess)}`. Look at photos of "
            "both: if a person cannot tell them apart, only more or larger photos help."
        )


def _headline(report: LossReport) -> list[str]:
    lines = [plain(sentence) for sentence in headline_sentences(report)]
    return ["\n".join(f"- {line}" for line in lines), *(f"> {plain(_begin(note))}." for note in report.notes)]


def _section(name: str, cells: Cells, pictures: Collection[str]) -> list[str]:
    if not cells.rows:
        return ["None were found."]
    shown = f"The first {len(cells.top().rows)} of {len(cells.rows)}; all are in [{name}.csv]({name}.csv)."
    picture = _PICTURES.get(name)
    return [
        f"{_CAPTIONS[name]} {shown}",
        markdown_table(cells.top()),
        *([f"![{_TITLES[name]}]({picture})"] if picture in pictures else []),
    ]


def markdown_table(cells: Cells) -> str:
    """The table in Markdown; numbers are aligned to the right."""
    names = {column: column.replace("_", " ") for column in cells.columns}
    return table(tuple(names.values()), cells.short(), {names[column] for column in cells.numbers})


def _code(text: str) -> str:
    """Text between backticks, on one line."""
    return " ".join(text.replace("`", "'").split())


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
