"""Full and read-only file systems (rows 6 and 7 of the fault matrix); `test_each_write.py` has each single write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_scene import Scene

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts file systems as Linux does")


def _in_namespace(scene: Scene, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount file systems, which nobody else sees; skip where that is not allowed."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets no user mount file systems")
    search = f"{sys.executable} -m automl_car search --workspace ."
    text = f"set -u\nsearch() {{ {search}; echo exit code $?; }}\n{script}"
    return subprocess.run(["unshare", "-rm", "sh", "-c", text], cwd=scene.root, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "size"), [("studies", "120k"), ("checkpoints", "60k"), ("checkpoints", "150k")])
def test_a_small_file_system_is_no_crash_and_with_more_space_the_search_goes_on(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None], folder: str, size: str
) -> None:
    ran = _in_namespace(
        scene,
        f"mkdir {folder}; mount -t tmpfs -o size={size} tmpfs {folder} || exit 77\n"
        f"search; mount -o remount,size=100m {folder}; search; cp -a {folder} kept\n",
    )
    assert "exit code 2\n" in ran.stdout, ran.stderr
    assert ran.stdout.endswith("exit code 0\n"), ran.stderr
    assert "Traceback" not in ran.stderr
    shutil.rmtree(scene.root / folder)
    (scene.root / "kept").rename(scene.root / folder)
    assert_as_undisturbed(scene)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["studies", "checkpoints", "checkpoints/_cache", "logs"])
def test_a_read_only_folder_is_told_before_anything_is_trained(scene: Scene, folder: str) -> None:
    ran = _in_namespace(scene, f"mkdir -p {folder}; mount -t tmpfs -o ro tmpfs {folder} || exit 77\nsearch\n")
    assert ran.stdout == "exit code 2\n", ran.stderr
    assert "Traceback" not in ran.stderr
    (error,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert folder in error
    assert "Read-only file system" in error
    assert "make it writable" in ran.stderr
    assert scene.records() == {}
    assert "trial 0" not in ran.stderr


def test_a_workspace_in_a_place_that_can_hold_none_is_told(tmp_path: Path, scene: Scene) -> None:
    # As root, whom the rights of folders do not bind, a path below a file is as good.
    (scene.root / "checkpoints").write_text("a file")
    assert scene.run() == 2
    assert "Traceback" not in scene.output
    assert "checkpoints" in scene.output.splitlines()[-1] or "checkpoints" in scene.output.splitlines()[-2]


# ---- shared memory (row 32) -----------------------------------------------------------------------------------------

LOADER_SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 1, tuning: full, backbones: [toy_large], augmentations: [none]}
training: {weights: random, epochs: 2, batch_size: 16, head_multiplier: 1, step: plain, workers: 2}
plugins: {files: [toy_networks.py, blind.py]}
"""
# A plugin under which the search does not notice how small the shared memory is.
BLIND = """
from pathlib import Path
from automl_car import hookimpl
from automl_car.pipeline import loading

loading.SHARED_MEMORY = Path("/nowhere")

@hookimpl
def register_augmentations():
    return []
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("", "photos are loaded without processes of their own: 2 of them need 0.3 MB of /dev/shm"),
        (BLIND, "A process that loads photos was killed. Fold 0 of trial 0 is trained again in a new one."),
    ],
    ids=["noticed", "not noticed"],
)
def test_small_shared_memory_is_no_crash_and_no_hang(scene: Scene, plugin: str, words: str) -> None:
    (scene.root / "automl-car.yaml").write_text(LOADER_SETTINGS)
    (scene.root / "blind.py").write_text(plugin or BLIND.replace("loading.SHARED_MEMORY", "unused"))
    ran = _in_namespace(scene, "mount -t tmpfs -o size=88k tmpfs /dev/shm || exit 77\nsearch\n")
    assert ran.stdout.endswith("exit code 0\n"), ran.stderr
    assert words in ran.stderr
    assert "trial 0 complete" in ran.stderr
