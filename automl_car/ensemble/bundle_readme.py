"""The page that lies in a bundle, for the person who finds the folder."""

from __future__ import annotations

from automl_car.bundle_records import BundleMember
from automl_car.ensemble.bundle import Bundle, BundlePlugin

_OF_REFIT = (
    "The networks in this folder were trained on all photos, after that was measured on those of the folds; they "
    "should be about as good."
)


def bundle_readme(bundle: Bundle) -> str:
    """README.md of a bundle."""
    measured = bundle.measured
    interval = f"{measured.log_loss:.4f} ± {1.96 * measured.standard_error:.4f}"
    lines = [
        f"# {len(bundle.class_names)} classes, from the study `{bundle.study}`",
        "An image classifier that automl-car built. Everything it needs is in this folder.",
        "",
        "```sh",
        "automl-car predict PHOTO... --bundle THIS_FOLDER      # photos, folders or CSV files; writes predictions.csv",
        "```",
        "```python",
        "import automl_car",
        'model = automl_car.load("THIS_FOLDER")',
        'probabilities = model.predict(["photo.jpg"])           # a row per photo; columns as in model.class_names',
        "```",
        "",
        f"Log loss {interval} (95 %), measured on {measured.rows} training photos, each judged by networks and a pool "
        f"that had not seen it{'; ' + measured.note if measured.note else ''}.",
        *([_OF_REFIT] if measured.refit else []),
        "It is measured on photos like those that it was trained on; on others it will be worse.",
        "",
        "| member | backbone | pixels | views | networks | weight |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(member) for member in bundle.members),
        "",
        *(_about_plugin(plugin) for plugin in bundle.plugins if plugin.origin != "bundled"),
        f"Made with {', '.join(f'{name} {version}' for name, version in bundle.versions.items())}.",
        "bundle.json holds every number, and the sha256 of every file: a file that was changed is refused.",
    ]
    return "\n".join([*lines, ""])


def _row(member: BundleMember) -> str:
    backbone = member.backbone + (" (frozen)" if member.head else "")
    cells = [member.name, backbone, member.image_size, member.views, len(member.networks), f"{member.weight:.3f}"]
    return f"| {' | '.join(map(str, cells))} |"


def _about_plugin(plugin: BundlePlugin) -> str:
    names = ", ".join(f"`{name}`" for name in plugin.backbones)
    if plugin.file:
        return (
            f"{names} come from the plugin `{plugin.name}`, copied to `{plugin.file}`. Read it; then pass it with "
            f"`--plugin THIS_FOLDER/{plugin.file}`. It is never run otherwise.\n"
        )
    return f"{names} come from the package `{plugin.location}` {plugin.version}, which has to be installed.\n"
