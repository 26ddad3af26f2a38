"""A bundle that was made, for a terminal and as plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.pipeline import Bundled


def print_bundle(made: Bundled) -> None:
    """What was compared, if anything was; the members; the log loss; the folder."""
    console, bundle = new_console(), made.bundle
    if made.considered:
        table = new_table("ensemble", "ms per photo", "log loss", "", right=("ms per photo", "log loss"))
        for place, each in enumerate(made.considered):
            word = "taken" if place == 0 else ("" if each.fits else "too slow")
            table.add_row(each.what, f"{each.milliseconds:.1f}", f"{each.log_loss:.4f}", word)
        console.print(table)
        console.print()
    members = new_table(
        "member", "backbone", "px", "views", "networks", "weight", right=("px", "views", "networks", "weight")
    )
    for member in bundle.members:
        numbers = (member.image_size, member.views, len(member.networks))
        backbone = member.backbone + (" (frozen)" if member.head else "")
        members.add_row(member.name, backbone, *map(str, numbers), f"{member.weight:.3f}")
    console.print(members)
    console.print()
    measured = bundle.measured
    console.print(
        f"log loss {measured.log_loss:.4f} ± {1.96 * measured.standard_error:.4f} out of fold, "
        f"{measured.rows} photos{measured.note and f'; {measured.note}'}",
        soft_wrap=True,
    )
    if measured.refit:
        console.print("measured on the models of the folds; those in the bundle were trained on all photos")
    if measured.difference is None:
        console.print("no test photo of the study is at hand, so its predictions were not compared with the study's")
    else:
        console.print(f"its probabilities of test photos are {measured.difference:.1e} from the study's")
    console.print(f"{made.directory} ({made.size / 1e6:.1f} MB)", soft_wrap=True)


def bundle_json(made: Bundled) -> dict[str, Any]:
    """What `bundle --json` prints."""
    bundle = made.bundle
    return {
        "bundle": str(made.directory),
        "bytes": made.size,
        "study": bundle.study,
        "classes": len(bundle.class_names),
        "log_loss": bundle.measured.log_loss,
        "standard_error": bundle.measured.standard_error,
        "rows": bundle.measured.rows,
        "milliseconds": bundle.measured.milliseconds,
        "difference": bundle.measured.difference,
        "refit": bundle.measured.refit,
        "members": [
            {
                "name": member.name,
                "backbone": member.backbone,
                "frozen": bool(member.head),
                "image_size": member.image_size,
                "views": member.views,
                "networks": len(member.networks),
                "weight": member.weight,
            }
            for member in bundle.members
        ],
        "considered": [
            {"what": each.what, "milliseconds": each.milliseconds, "log_loss": each.log_loss, "fits": each.fits}
            for each in made.considered
        ],
    }
