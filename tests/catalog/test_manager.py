from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from automl_car import __version__
from automl_car.catalog.manager import Catalog, PluginInfo, load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.errors import PluginError

TRACKERS = ["track_mlflow", "track_tensorboard", "track_wandb"]
EXECUTORS = ["run_here", "run_on_ray"]
NETWORKS = ["convnext", "crops", "efficientnet", "efficientnet_lite", "eva02", "policies", "resnet"]
BUNDLED = [*NETWORKS, *EXECUTORS, *TRACKERS]
REPOSITORY = Path(__file__).parents[2]

# The whole of a new backbone.
NEW_BACKBONE = """\
from automl_car import Backbone, Param, hookimpl


def build(num_classes, *, pretrained=True, width=8):
    from torch import nn

    conv = nn.Conv2d(3, width, 3)
    return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


@hookimpl
def register_backbones():
    width = Param.int("width", 4, 16, default=8)
    return [Backbone("new_net", build, image_size=32, params=(width,), source="arXiv:0000.00000")]
"""


def plugin(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return folder / f"{name}.py"


def offering(*names: str) -> str:
    """The source of a plugin that offers backbones of these names."""
    return (
        "from automl_car import Backbone, hookimpl\n"
        "@hookimpl\n"
        "def register_backbones():\n"
        f"    return [Backbone(name, dict) for name in {list(names)!r}]\n"
    )


def returning(expression: str) -> str:
    return f"from automl_car import hookimpl\n@hookimpl\ndef register_backbones():\n    return {expression}\n"


def row_of(catalog: Catalog, name: str) -> PluginInfo:
    (row,) = [row for row in catalog.plugins if row.name == name]
    return row


# ---- where plugins come from ----------------------------------------------------------------------------------------


def test_the_bundled_plugins_are_there_and_whole() -> None:
    catalog = load_catalog()
    assert [row.name for row in catalog.plugins] == BUNDLED
    assert {row.origin for row in catalog.plugins} == {"bundled"}
    assert {row.version for row in catalog.plugins} == {__version__}
    catalog.require_whole()


def test_backbones_and_augmentations_are_sorted_by_name(tmp_path: Path) -> None:
    file = plugin(tmp_path, "last", offering("zz", "aa"))
    catalog = load_catalog(PluginSources(files=(file,)))
    assert list(catalog.backbones) == sorted(catalog.backbones)
    assert list(catalog.augmentations) == sorted(catalog.augmentations)
    assert next(iter(catalog.backbones)) == "aa"


def test_a_backbone_of_fifteen_lines_in_the_workspace_is_found(tmp_path: Path) -> None:
    plugin(tmp_path, "new_net", NEW_BACKBONE)
    assert len(NEW_BACKBONE.splitlines()) <= 15
    catalog = load_catalog(PluginSources(workspace_folder=tmp_path))
    assert row_of(catalog, "new_net").origin == "workspace"
    assert [param.name for param in catalog.backbone("new_net").params] == ["width"]


def test_a_file_named_on_the_command_line_is_found(tmp_path: Path) -> None:
    file = plugin(tmp_path, "named", offering("net"))
    row = row_of(load_catalog(PluginSources(files=(file,))), "named")
    assert (row.origin, row.location, row.backbones) == ("file", str(file), ("net",))


def test_the_version_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    before = row_of(load_catalog(PluginSources(files=(plugin(tmp_path, "p", offering("a")),))), "p")
    after = row_of(load_catalog(PluginSources(files=(plugin(tmp_path, "p", offering("b")),))), "p")
    assert len(before.version) == 8
    assert before.version != after.version


def test_what_a_file_offers_has_the_version_of_the_file_and_bundled_ones_none(tmp_path: Path) -> None:
    catalog = load_catalog(PluginSources(files=(plugin(tmp_path, "mine", offering("foo_net", "bar_net")),)))
    (row,) = [row for row in catalog.plugins if row.name == "mine"]
    assert catalog.version_of("foo_net") == catalog.version_of("bar_net") == row.version != ""
    assert [catalog.version_of(name) for name in ("efficientnet_lite0", "light", "nowhere")] == ["", "", ""]


def test_a_file_reached_by_three_roads_is_loaded_once(tmp_path: Path) -> None:
    file = plugin(tmp_path, "once", offering("net"))
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.py"
    link.symlink_to(file)
    catalog = load_catalog(PluginSources(workspace_folder=tmp_path, files=(file, link)))
    assert row_of(catalog, "once").error is None
    assert len(catalog.plugins) == len(BUNDLED) + 1


def test_in_the_repository_itself_the_bundled_plugins_are_loaded_once() -> None:
    catalog = load_catalog(PluginSources(workspace_folder=REPOSITORY / "plugins"))
    assert [row.name for row in catalog.plugins] == BUNDLED
    catalog.require_whole()


def test_two_files_of_one_name_in_two_folders_are_two_plugins(tmp_path: Path) -> None:
    first = plugin(tmp_path / "a", "same", offering("one"))
    second = plugin(tmp_path / "b", "same", offering("two"))
    catalog = load_catalog(PluginSources(files=(first, second)))
    assert {"one", "two"} <= set(catalog.backbones)


def test_files_that_begin_with_an_underscore_are_no_plugins(tmp_path: Path) -> None:
    plugin(tmp_path, "_helpers", "raise ValueError")
    assert [row.name for row in load_catalog(PluginSources(workspace_folder=tmp_path)).plugins] == BUNDLED


def test_a_workspace_without_a_plugins_folder_is_fine(tmp_path: Path) -> None:
    assert load_catalog(PluginSources(workspace_folder=tmp_path / "plugins")).plugins


def test_a_disabled_plugin_is_not_even_run(tmp_path: Path) -> None:
    plugin(tmp_path, "wild", "raise SystemExit('ran')")
    catalog = load_catalog(PluginSources(workspace_folder=tmp_path, disabled=("wild", "eva02")))
    assert row_of(catalog, "wild").disabled
    assert row_of(catalog, "wild").error is None
    assert "eva02_large" not in catalog.backbones
    catalog.require_whole()


# ---- installed plugins ----------------------------------------------------------------------------------------------


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, *points: EntryPoint) -> None:
    def installed(group: str) -> tuple[EntryPoint, ...]:
        assert group == "automl_car"
        return points

    monkeypatch.setattr("automl_car.catalog.finding.entry_points", installed)
    monkeypatch.syspath_prepend(str(folder))


def test_a_plugin_of_an_installed_distribution_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, "their_package_for_cars", offering("theirs"))
    install(monkeypatch, tmp_path, EntryPoint("theirs", "their_package_for_cars", "automl_car"))
    row = row_of(load_catalog(), "theirs")
    assert (row.origin, row.backbones, row.error) == ("installed", ("theirs",), None)


def test_a_broken_installed_plugin_is_a_row_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = (
        EntryPoint("gone", "a_module_that_is_not_there", "automl_car"),
        EntryPoint("no_module", "json:dumps", "automl_car"),
    )
    install(monkeypatch, tmp_path, *points)
    catalog = load_catalog()
    assert row_of(catalog, "gone").error == (
        "ModuleNotFoundError: No module named 'a_module_that_is_not_there' "
        "(`pip install a_module_that_is_not_there` may bring it)"
    )
    assert row_of(catalog, "no_module").error == "entry point `json:dumps` must name a module, not function."
    assert set(BUNDLED) <= {row.name for row in catalog.plugins if not row.error}


# ---- broken plugins -------------------------------------------------------------------------------------------------

BROKEN = {
    "syntax error": ("def broken(:\n", r"SyntaxError: .*line 1"),
    "exception": ("raise ValueError('out of paint')", "^ValueError: out of paint$"),
    "sys.exit": ("import sys; sys.exit(3)", r"^it called sys\.exit\(3\) while it was loaded\.$"),
    "missing dependency": (
        "import a_library_nobody_has",
        "ModuleNotFoundError: .*'a_library_nobody_has'",
    ),
    "hook that raises": (returning("1 / 0"), "ZeroDivisionError: division by zero"),
    "hook that exits": (returning("exit(4)"), r"it called sys\.exit\(4\)"),
    "string": (returning("'resnet'"), "`register_backbones` must return a list of Backbone, not str"),
    "dict": (returning("{}"), "must return a list of Backbone, not dict"),
    "nothing": (returning("None"), "must return a list of Backbone, not NoneType"),
    "generator": (returning("(x for x in ())"), "must return a list of Backbone, not generator"),
    "wrong entry": (returning("[3]"), "returned 3 in its list; every entry must be a Backbone"),
    "bad record": (offering("Bad Name"), "Backbone name `Bad Name` may hold only a-z, 0-9 and _"),
    "twice": (offering("net", "net"), "it offers the name `net` twice"),
    "misspelt hook": (
        offering("net").replace("register_backbones", "register_backbone"),
        r"`register_backbone` is no hook of automl-car\. Did you mean `register_backbones`\?",
    ),
    "misspelt and unmarked": (
        offering("net").replace("register_backbones", "register_backbone").replace("@hookimpl", ""),
        r"`register_backbone` is no hook of automl-car\. Did you mean `register_backbones`\?",
    ),
    "unmarked hook": (
        offering("net").replace("@hookimpl", ""),
        "`register_backbones` is not marked as a hook. Put `@hookimpl` above it.",
    ),
    "no hook": (
        "x = 1",
        "it implements none of the hooks `register_backbones`, `register_augmentations`, `register_trackers`, "
        "`register_executors`",
    ),
    "hook with an argument": (offering("net").replace("_backbones()", "_backbones(config)"), "config"),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_a_row_with_its_reason_and_disturbs_no_other(text: str, reason: str, tmp_path: Path) -> None:
    plugin(tmp_path, "a_broken", text)
    plugin(tmp_path, "b_healthy", offering("healthy"))
    catalog = load_catalog(PluginSources(workspace_folder=tmp_path))
    assert re.search(reason, str(row_of(catalog, "a_broken").error))
    assert row_of(catalog, "a_broken").backbones == ()
    assert row_of(catalog, "b_healthy").error is None
    assert "healthy" in catalog.backbones
    assert set(BUNDLED) <= {row.name for row in catalog.plugins if not row.error}


def test_a_file_that_is_not_there_is_a_row_with_its_reason(tmp_path: Path) -> None:
    catalog = load_catalog(PluginSources(files=(tmp_path / "missing.py",)))
    assert row_of(catalog, "missing").error == "there is no such file."


def test_a_file_that_is_no_python_is_a_row_with_its_reason(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not python")
    assert row_of(load_catalog(PluginSources(files=(notes,))), "notes").error == "it is not a Python file."


def test_a_plugin_that_fails_leaves_no_half_made_module_behind(tmp_path: Path) -> None:
    load_catalog(PluginSources(files=(plugin(tmp_path, "half_made", "raise ValueError"),)))
    assert not [name for name in sys.modules if "half_made" in name]


def test_ctrl_c_while_a_plugin_loads_stops_the_command(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_catalog(PluginSources(files=(plugin(tmp_path, "slow", "raise KeyboardInterrupt"),)))


def test_a_name_that_a_bundled_plugin_has_is_an_error_that_names_both(tmp_path: Path) -> None:
    plugin(tmp_path, "mine", offering("net", "resnet50"))
    catalog = load_catalog(PluginSources(workspace_folder=tmp_path))
    row = row_of(catalog, "mine")
    assert row.error == (
        "the name `resnet50` is already taken by plugin `resnet` (automl_car/plugins/resnet.py). Rename one of the two."
    )
    assert "net" not in catalog.backbones, "half of a plugin would be a surprise"
    assert catalog.backbone("resnet50").source == "arXiv:1512.03385; arXiv:2110.00476"


def test_a_backbone_and_an_augmentation_cannot_share_a_name(tmp_path: Path) -> None:
    row = row_of(load_catalog(PluginSources(files=(plugin(tmp_path, "mine", offering("light")),))), "mine")
    assert row.error is not None
    assert "`light` is already taken by plugin `crops`" in row.error


def test_a_search_names_every_broken_plugin_and_how_to_leave_them_out(tmp_path: Path) -> None:
    plugin(tmp_path, "first", "raise ValueError('no paint')")
    plugin(tmp_path, "second", "x = 1")
    catalog = load_catalog(PluginSources(workspace_folder=tmp_path))
    with pytest.raises(PluginError) as caught:
        catalog.require_whole()
    assert f"`first` ({tmp_path / 'first.py'}): ValueError: no paint" in caught.value.message
    assert f"`second` ({tmp_path / 'second.py'}): it implements none" in caught.value.message
    assert caught.value.hint is not None
    assert "plugins: {disabled: [first, second]}" in caught.value.hint


# ---- looking up -----------------------------------------------------------------------------------------------------


def test_an_unknown_backbone_is_an_error_with_the_near_name() -> None:
    with pytest.raises(PluginError, match=r"Unknown backbone `resnet5`\. Did you mean `resnet50`") as caught:
        load_catalog().backbone("resnet5")
    assert caught.value.hint == "`automl-car plugins` lists all that are loaded."


def test_an_unknown_augmentation_is_an_error_with_the_near_name() -> None:
    with pytest.raises(PluginError, match=r"Unknown augmentation `ligth`\. Did you mean `light`"):
        load_catalog().augmentation("ligth")


def test_a_name_that_is_near_to_nothing_gets_no_guess() -> None:
    with pytest.raises(PluginError, match=r"^Unknown backbone `qqq`\.$"):
        load_catalog().backbone("qqq")


def test_nobody_can_change_a_catalog() -> None:
    with pytest.raises(TypeError):
        load_catalog().backbones["mine"] = None  # type: ignore[index]
