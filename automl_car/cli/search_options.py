"""The options that only `search` has: what it says of each."""

from __future__ import annotations

from typing import Annotated

import typer

TrialsOption = Annotated[int | None, typer.Option(metavar="N", help="Trials of the study in all. Default: 50.")]
SampleOption = Annotated[bool, typer.Option("--sample", help="Use generated photos of fictional cars.")]
NewStudyOption = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the study. Default: main.")]
TimeoutOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Time limit such as 30m or 2h, submission included.")
]
BackboneOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Search this backbone; may be repeated.")
]
AugmentationOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Search this augmentation; may be repeated.")
]
TuningOption = Annotated[str | None, typer.Option(metavar="WORD", help="head, full, both or auto.")]
EpochsOption = Annotated[int | None, typer.Option(metavar="N", help="Epochs of fine-tuning. Default: 30.")]
BatchSizeOption = Annotated[int | None, typer.Option(metavar="N", help="Images per step. Default: 64.")]
FoldsOption = Annotated[int | None, typer.Option(metavar="N", help="Folds of cross-validation. Default: 5.")]
LearningRateOption = Annotated[
    float | None, typer.Option(metavar="RATE", help="Base learning rate in place of each backbone's own.")
]
WeightsOption = Annotated[str | None, typer.Option(metavar="WHICH", help="pretrained, random, or a file.")]
SeedOption = Annotated[int | None, typer.Option(metavar="N", help="Seed of folds, training and sampler. Default: 0.")]
MembersOption = Annotated[int | None, typer.Option(metavar="N", help="Members of the ensemble at most. Default: 5.")]
WarmStartOption = Annotated[
    str | None,
    typer.Option(metavar="STUDY", help="Begin with the best recipes of this study, or of a study's .db file."),
]
PatienceOption = Annotated[
    int | None, typer.Option(metavar="N", help="Stop when N trials brought no gain worth having. Default: never.")
]
ExecutorOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Where folds are trained: local, ray. Default: local.")
]
AddressOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="The executor's cluster, such as auto or host:port.")
]
WorkersOption = Annotated[
    str | None, typer.Option(metavar="N", help="Training processes side by side, or auto: one a GPU. Default: auto.")
]
PlanOption = Annotated[bool, typer.Option("--plan", help="Measure for a minute what the search will cost, and stop.")]
