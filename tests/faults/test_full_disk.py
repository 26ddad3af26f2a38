"""Full and read-only disks, at every place where a search writes (rows 6 and 7 of the fault matrix)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_faults import PLUGIN
from fault_scene import SETTINGS, Scene

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the path of a file descriptor in /proc")


@pytest.fixture
def faulty(scene: Scene) -> Scene:
    """A workspace whose writes can be made to fail."""
    return _make_faulty(scene)


def _make_faulty(scene: Scene) -> Scene:
    (scene.root / "disk_faults.py").write_text(PLUGIN)
    settings = SETTINGS.replace("toy_networks.py", "toy_networks.py, disk_faults.py")
    (scene.root / "automl-car.yaml").write_text(settings)
    return scene


def _assert_told(scene: Scene, code: int, printed: str) -> None:
    """One line that names a path, one that says what to do, no traceback, and nothing left behind."""
    assert code == 2, printed
    assert "Traceback" not in printed
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "`" in error or "/" in error, error
    (hint,) = [line for line in printed.splitlines() if line.startswith("hint: ")]
    assert "space" in hint, hint
    assert scene.leftovers() == []
    assert scene.processes() == []


def _fail_once(scene: Scene, fault: str) -> bool:
    """Run a search in which one write fails; whether there was such a write."""
    (scene.root / "writes.txt").unlink(missing_ok=True)
    before = len(scene.output)
    code = scene.run(environment={"DISK_FAULT": fault})
    counted = scene.root / "writes.txt"
    if not counted.is_file() or counted.stat().st_size < int(fault.split()[2]):
        assert code == 0, scene.output
        return False
    _assert_told(scene, code, scene.output[before:])
    scene.look()
    return True


QUICK = ["fsync /fold- 3"]
MORE = [
    "commit - 60",
    "fsync /studies/main/ 1",
    "open pixels.bin 1",
    "fsync /images/ 1",
    "open /features/ 2",
    "fsync /features/ 1",
    "fsync folds.csv 1",
    "open /fold- 1",
    "open /studies/main/ 3",
    "commit - 1",
    "commit - 2",
    "commit - 200",
]


@pytest.mark.parametrize("fault", [*QUICK, *(pytest.param(fault, marks=pytest.mark.slow) for fault in MORE)])
def test_a_search_whose_disk_is_full_says_so_and_goes_on_to_the_same(
    faulty: Scene, assert_as_undisturbed: Callable[[Scene], None], fault: str
) -> None:
    assert _fail_once(faulty, fault)
    assert faulty.run() == 0, faulty.output
    assert_as_undisturbed(faulty)


@pytest.mark.long
def test_each_write_of_a_search_may_fail_once(
    make_scene: Callable[[], Scene], assert_as_undisturbed: Callable[[Scene], None], capsys: pytest.CaptureFixture[str]
) -> None:
    count = 0
    while True:
        scene = _make_faulty(make_scene())
        if not _fail_once(scene, f"any - {count + 1}"):
            break
        count += 1
        assert scene.run() == 0, scene.output
        assert_as_undisturbed(scene)
        shutil.rmtree(scene.root)
    with capsys.disabled():
        print(f"\neach of {count} writes failed once, and each search came to the same")
    assert count > 100


# ---- real file systems ----------------------------------------------------------------------------------------------


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
        (BLIND, "A process that loads photos was killed. Fold 0 is trained again in a new one."),
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
