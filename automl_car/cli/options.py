"""Options that several commands share: one name, one meaning, one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", metavar="DIR", help="Folder with automl-car.yaml, data/, studies/ and checkpoints/."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings file. Default: automl-car.yaml of the workspace, if there."
    ),
]
PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="One-file plugin to load; may be repeated.")
]
NoLocalPluginsOption = Annotated[
    bool, typer.Option("--no-local-plugins", help="Do not load the workspace's plugins/*.py.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Tell nothing but the result; the log in logs/ has the rest.")
]
StudyOption = Annotated[
    str | None, typer.Option("--study", metavar="NAME", help="Name of the study. Default: the latest one.")
]
StudyArgument = Annotated[str | None, typer.Argument(help="The study. Default: the latest one.")]
StorageOption = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="URL of the database of the studies. Default: studies/<study>.db."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Folder of the contest's files. Default: data.")
]
TopKOption = Annotated[int | None, typer.Option("--top-k", metavar="N", help="Members at most. Default: 5.")]
SubmissionOption = Annotated[Path, typer.Option("--output", metavar="FILE", help="The submission.")]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Made by `bundle`. Default: the newest in bundles/.")
]
HERE = Path()
SUBMISSION = Path("submission.csv")
