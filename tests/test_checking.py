"""`automl-car plugins check`: what a plugin does wrong is told with the rule, before a search meets it (row 15)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automl_car import cli
from automl_car.catalog.records import PluginSources
from automl_car.checking import Checked, check_plugins
from automl_car.errors import PluginError

HEAD = """
from functools import partial
from automl_car import Augmentation, Backbone, Param, hookimpl
"""
# Many backbones and augmentations, each wrong in one way, so that one process is enough for all of them.
MANY = (
    HEAD
    + """
def net(classes, *, pretrained=True, width=8):
    from torch import nn
    body = nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, width), nn.ReLU()
    return nn.Sequential(*body, nn.Linear(width, classes))

def raises(classes, **params): raise ValueError("no such layer")
def exits(classes, **params): raise SystemExit(3)
def lacks(classes, **params): import skimage
def text(classes, **params): return "resnet"
def shape(classes, **params): return net(classes - 1)
def integers(classes, **params):
    from torch import nn
    class Net(nn.Module):
        def forward(self, images): return images.mean((2, 3))[:, :1].long().repeat(1, classes)
    return Net()
def width_zero(classes, *, pretrained=True, width=8):
    if width == 16: raise ValueError("too wide")
    return net(classes, width=width)
def wild(classes, **params):
    import torch
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(torch.get_num_threads() + 1)
    return net(classes)

def resized(size, **params):
    import albumentations as A
    return A.Resize(size + params.pop("more", 0), size)
def raising(size):
    import albumentations as A
    def change(image, **_): raise ValueError("no colour")
    return A.Compose([A.Resize(size, size), A.Lambda(image=change)])

@hookimpl
def register_backbones():
    builds = [net, raises, exits, lacks, text, shape, integers, wild]
    records = [Backbone(build.__name__, build, image_size=16, source="here") for build in builds]
    width = Param.int("width", 4, 16, default=8)
    return [*records, Backbone("nobodys", net, image_size=16),
            Backbone("width_zero", width_zero, image_size=16, params=(width,), source="here")]

@hookimpl
def register_augmentations():
    return [Augmentation("turns", resized, source="here"), Augmentation("raising", raising, source="here"),
            Augmentation("larger", partial(resized, more=1), source="here")]
"""
)
EXPECTED = {
    "raises": ("build", "`build` of `raises` raised ValueError: no such layer"),
    "exits": ("build", "`build` of `exits` raised SystemExit: 3"),
    "lacks": ("build", r"No module named 'skimage' \(`pip install scikit-image` may bring it\)"),
    "text": ("build", "returned str, not a torch.nn.Module"),
    "shape": ("logits", r"into \(2, 4\), not into logits \(2, 5\)"),
    "integers": ("logits", "logits of type torch.int64; they must be floating point numbers"),
    "nobodys": ("source", "has no `source`"),
    "width_zero": ("parameters", "raised with `width=16` ValueError: too wide"),
    "raising": ("pictures", r"raised on a picture \(40, 90, 3\): ValueError: no colour"),
    "larger": ("pictures", r"into \(65, 64, 3\), not \(64, 64, 3\)"),
}
TOP = {
    "quits": "import os; os._exit(3)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "hangs": "import time; time.sleep(3600)",
    "prints": "print('hello'); import random; random.seed(1)",
}


def plugins(folder: Path, **texts: str) -> PluginSources:
    (folder / "plugins").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / "plugins" / f"{name}.py").write_text(text)
    return PluginSources(folder / "plugins", verdicts=folder / "verdicts", time_limit=60)


def offering(name: str) -> str:
    return HEAD + f"@hookimpl\ndef register_augmentations():\n    return [Augmentation({name!r}, dict, source='x')]\n"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    (checked,) = check_plugins(plugins(tmp_path_factory.mktemp("many"), many=MANY))
    return checked


@pytest.mark.parametrize("record", EXPECTED)
def test_each_record_that_breaks_a_rule_is_told_with_the_rule(record: str, many: Checked) -> None:
    (broken,) = [broken for broken in many.broken if broken.record == record]
    rule, message = EXPECTED[record]
    assert broken.rule == rule
    assert re.search(message, broken.message), broken.message


def test_those_that_keep_the_contract_are_not_named(many: Checked) -> None:
    assert {broken.record for broken in many.broken} == set(EXPECTED)
    assert {"net", "turns", "wild"} <= set(many.offers)


def test_what_a_build_changes_is_told_as_a_note(many: Checked) -> None:
    assert any("`build` of `wild` changes the number of torch's threads" in note for note in many.notes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quits", "it ended the process with exit code 3"),
        ("crashes", r"it ended the process by SIGSEGV \(line 1"),
        ("hangs", r"it was not done after 1 s \(line 1"),
    ],
)
def test_a_plugin_that_dies_or_hangs_is_told_and_the_check_goes_on(name: str, message: str, tmp_path: Path) -> None:
    sources = plugins(tmp_path, a=TOP[name], b=TOP["quits"])
    (first, second) = check_plugins(PluginSources(sources.workspace_folder, time_limit=1))
    assert [broken.rule for broken in first.broken] == ["loading"]
    assert re.search(message, first.broken[0].message), first.broken
    assert "exit code 3" in second.broken[0].message


def test_what_is_harmless_is_a_note(tmp_path: Path) -> None:
    (checked,) = check_plugins(
        plugins(tmp_path, prints=f"{TOP['prints']}\n{HEAD}@hookimpl\ndef register_backbones(): return []")
    )
    assert checked.broken == ()
    assert "it prints to stdout; a command sends that to stderr" in checked.notes
    assert any("loading it changes the seed of `random`" in note for note in checked.notes)


def test_a_name_that_is_taken_is_told_also_when_its_owner_is_not_checked(tmp_path: Path) -> None:
    sources = plugins(tmp_path, a=offering("mine"), b=offering("mine"), c=offering("light"))
    found = {checked.name: checked for checked in check_plugins(sources, ["b", "c"])}
    clashes = {
        name: [each.message for each in checked.broken if each.rule == "name"] for name, checked in found.items()
    }
    assert clashes == {
        "b": ["the name `mine` is already taken by plugin `a`. Rename one of the two."],
        "c": ["the name `light` is already taken by plugin `crops`. Rename one of the two."],
    }


def test_without_names_all_but_the_bundled_and_the_disabled_are_checked(tmp_path: Path) -> None:
    sources = plugins(tmp_path, a=TOP["quits"], b=TOP["quits"])
    found = check_plugins(PluginSources(sources.workspace_folder, disabled=("b",)))
    assert [checked.name for checked in found] == ["a"]


def test_a_name_that_is_not_there_is_an_error_with_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"There is no plugin `resnett`\. Did you mean `resnet`\?"):
        list(check_plugins(plugins(tmp_path), ["resnett"]))


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["automl-car", "plugins", "check", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def test_a_broken_plugin_gives_exit_code_2_and_says_what_to_do(run: Callable[..., Any], tmp_path: Path) -> None:
    plugins(tmp_path, quits=TOP["quits"], empty=f"{HEAD}@hookimpl\ndef register_backbones(): return []")
    code, out, err = run()
    assert code == 2
    assert re.search(r"^quits +broken .*quits\.py", out, re.MULTILINE)
    assert re.search(r"^empty +kept ", out, re.MULTILINE)
    assert "quits: loading: it ended the process with exit code 3." in out
    assert re.search(r"2 plugins checked in .* s \(all but the bundled ones; --all checks those, too\)", err)
    assert "error: Not every plugin keeps the contract: quits." in err
    assert "`plugins: {disabled: [quits]}`" in err


def test_where_the_time_was_over_the_hint_says_how_to_give_more(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOP["hangs"])
    code, _, err = run("mine.py", "--time-limit", "1s")
    assert code == 2
    assert "`--time-limit 2m` gives each rule more time" in err


def test_json_says_the_same_and_a_file_may_be_named(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOP["prints"] + f"\n{HEAD}@hookimpl\ndef register_backbones(): return []")
    code, out, _ = run("mine.py", "--json")
    assert code == 0
    (checked,) = json.loads(out)
    assert (checked["name"], checked["verdict"], checked["broken"]) == ("mine", "kept", [])


def test_without_plugins_of_others_it_says_so(run: Callable[..., Any]) -> None:
    code, out, err = run()
    assert (code, out) == (0, "")
    assert "there are only bundled plugins here; --all checks those" in err


@pytest.mark.slow
def test_the_bundled_plugins_keep_the_contract(run: Callable[..., Any]) -> None:
    code, out, err = run("crops", "policies", "efficientnet_lite", "--time-limit", "5m")
    assert code == 0, out + err
