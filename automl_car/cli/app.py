"""The command `automl-car` itself; the modules beside this one add its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from automl_car import __version__

app = typer.Typer(
    help="Search for the image classifier with the lowest log loss, and turn it into a contest submission.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
plugins_app = typer.Typer(help="What the loaded plugins offer.", rich_markup_mode=None)
studies_app = typer.Typer(help="What earlier searches found.", rich_markup_mode=None)
config_app = typer.Typer(help="The settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(plugins_app, name="plugins")
app.add_typer(studies_app, name="studies")
app.add_typer(config_app, name="config")


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
