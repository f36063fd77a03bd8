"""What `transfer doctor` reports, on this machine and on ones where something is missing."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from transfer_core import __version__, doctor
from transfer_core.backbones.catalogue import catalogue
from transfer_core.doctor import Check

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TRANSFER_WEIGHTS", "TRANSFER_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_check_in_order() -> None:
    checks = list(doctor.examine())
    assert [check.name for check in checks] == [
        *("python", "transfer_core"),
        *("torch", "torchvision", "numpy", "msgpack", "msgspec", "safetensors", "pillow", "onnx"),
        *("device", "engines", "weights", "home", "runs", "disk", "memory", "sandbox"),
    ]
    assert all(check.detail for check in checks)
    assert [check.remedy for check in checks if check.ok] == [None] * sum(check.ok for check in checks)


def test_this_machine() -> None:
    checks = {check.name: check for check in doctor.examine()}
    version = ".".join(map(str, sys.version_info[:3]))
    assert checks["python"] == Check("python", True, f"{version} at {sys.executable}")
    assert checks["transfer_core"].detail == f"{__version__} in {Path(doctor.__file__).parent}"
    assert checks["torch"] == Check("torch", True, torch.__version__)
    assert checks["numpy"] == Check("numpy", True, numpy.__version__)


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (9, 0))
    check = doctor.check_python()
    assert not check.ok
    assert check.detail.endswith(f" at {sys.executable}, older than 9.0")
    assert check.remedy == "transfer setup --python python9.0"


def test_a_missing_package() -> None:
    check = doctor.check_package("transfer-no-such-package", "nothing")
    fix = f"{sys.executable} -m pip install --force-reinstall transfer-no-such-package"
    assert check == Check("transfer-no-such-package", False, "not installed", fix)


def test_a_package_that_can_not_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_by_upgrade.py").write_text("raise OSError('libcudart.so.12: no such file\\nmore')")
    info = tmp_path / "broken_by_upgrade-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-by-upgrade\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    detail = "1.2, but it can't be imported: libcudart.so.12: no such file"
    fix = f"{sys.executable} -m pip install --force-reinstall broken-by-upgrade"
    expected = Check("broken-by-upgrade", False, detail, fix)
    assert doctor.check_package("broken-by-upgrade", "broken_by_upgrade") == expected


def test_each_extra_of_the_project_can_be_checked() -> None:
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    table = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    names = re.findall(r"^(\w+) = ", table, re.MULTILINE)
    assert [*doctor.EXTRAS, "dev"] == names
    for extra, packages in doctor.EXTRAS.items():
        own = table.partition(f"\n{extra} = [")[2].partition("]")[0] or table.partition("]")[0]
        assert all(f'"{package}' in own for package in packages)


def test_each_missing_package_is_in_the_extra_that_its_error_names() -> None:
    named = []
    for file in Path(doctor.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DependencyError":
                named += [ast.literal_eval(node.args[-1])] if len(node.args) == 3 else []
    assert len(named) >= 12
    assert set(named) <= set(doctor.EXTRAS)


@pytest.mark.parametrize(
    ("extras", "command"),
    [
        (None, f"{sys.executable} -m pip install 'transfer-core[timm]'"),
        (["parquet"], "transfer setup --extras timm"),
        (["timm"], "transfer setup --force --extras timm"),
    ],
)
def test_an_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extras: list[str] | None, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    if extras:
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        (tmp_path / "transfer-setup.json").write_text(json.dumps({"extras": extras}))
    checks = {check.name: check for check in doctor.examine(["timm", "signing"])}
    assert checks["extra timm"] == Check("extra timm", False, "the package timm is not installed", command)
    assert checks["extra signing"] == Check("extra signing", True, "cryptography")


def test_the_build_of_torch() -> None:
    here = torch.version.cuda or "cpu"
    found = "CPU" if here == "cpu" else f"CUDA {here}"
    for wanted, other in ((here, None), ("1.2", "--cuda 1.2")):
        check = {check.name: check for check in doctor.examine(torch=wanted)}["torch build"]
        detail = f"{found}, expected CUDA 1.2" if other else found
        assert check == Check(
            "torch build", other is None, detail, other and f"transfer setup --force {other}"
        )


def test_the_device_is_the_one_that_torch_has() -> None:
    check = doctor.check_device()
    assert check.ok
    assert check.detail.startswith("cuda:0, " if torch.cuda.is_available() else ("mps, ", "cpu, "))


def test_weights_that_a_package_carries_are_found() -> None:
    check = doctor.check_weights()
    assert check.ok
    count, _, names = check.detail.partition(" backbones on this machine: ")
    here = [entry.name for entry in catalogue(offline=True)]
    assert "mobilenet_v2" in here
    assert names == ", ".join(here)
    assert count == f"{len(here)} of {len(catalogue()):,}"


def test_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("places", "huggingface.repository"):
        monkeypatch.setattr(f"transfer_core.backbones.{module}.PACKAGES", {})
    monkeypatch.setattr("transfer_core.backbones.marian.marian_folder.PACKAGED", {})
    check = doctor.check_weights()
    assert check.ok
    assert check.detail.endswith(" on this machine; the first training downloads what it needs")

    monkeypatch.setenv("TRANSFER_OFFLINE", "1")
    check = doctor.check_weights()
    assert not check.ok
    assert check.detail.endswith(" on this machine, and TRANSFER_OFFLINE forbids downloads")
    assert check.remedy == "transfer setup --offline"


def test_the_home_and_what_is_kept_there(own_home: Path) -> None:
    assert doctor.check_home() == Check("home", True, f"{own_home} (runs 0 B, cache 0 B)")
    (own_home / "runs" / "a").mkdir(parents=True)
    (own_home / "runs" / "a" / "model").write_bytes(bytes(2_000_000))
    assert doctor.check_home().detail == f"{own_home} (runs 2.0 MB, cache 0 B)"
    (own_home / "env").mkdir()
    (own_home / "env" / "package").write_bytes(bytes(3_000_000))
    assert doctor.check_home().detail == f"{own_home} (env 3.0 MB, runs 2.0 MB, cache 0 B)"


def test_runs_by_status(own_home: Path) -> None:
    assert doctor.check_runs() == Check("runs", True, "none")
    for name, size in (("a", 1_000_000), ("b", 500_000)):
        (own_home / "runs" / name).mkdir(parents=True)
        (own_home / "runs" / name / "model.transfer").write_bytes(bytes(size))
    (own_home / "runs" / "20260314-150926-5e35a8").mkdir()
    assert doctor.check_runs() == Check("runs", True, "2 finished (1.5 MB), 1 damaged (0 B)")


@pytest.mark.parametrize("place", ["", "runs", "cache", "trusted"])
def test_what_other_users_could_write_is_a_finding_with_the_fix(own_home: Path, place: str) -> None:
    (own_home / "runs").mkdir(parents=True)
    (own_home / "cache").mkdir()
    (own_home / "trusted").touch()
    path = own_home / place
    path.chmod(0o777)
    check = doctor.check_home()
    assert check == Check(
        "home", False, f"{path} can be written by other users (mode 0777)", f"chmod -R go-w {path}"
    )
    subprocess.run(check.remedy, shell=True, check=True)
    assert doctor.check_home().ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("place", ["", "runs", "cache", "trusted", "runs/a"])
def test_what_belongs_to_another_user_is_a_finding_with_the_fix(own_home: Path, place: str) -> None:
    (own_home / "runs" / "a").mkdir(parents=True)
    (own_home / "runs" / "a" / "run.json").touch()
    (own_home / "cache").mkdir()
    (own_home / "trusted").touch()
    path = own_home / place
    os.chown(path, 65534, 65534)
    check = doctor.check_runs() if place == "runs/a" else doctor.check_home()
    detail = f"{path} belongs to user 65534, not to user 0"
    assert (check.ok, check.detail, check.remedy) == (False, detail, f"chown -R 0 {path}")
    subprocess.run(check.remedy, shell=True, check=True)
    assert doctor.check_home().ok
    assert doctor.check_runs().ok


def test_a_home_that_is_a_file(own_home: Path) -> None:
    own_home.write_text("")
    check = doctor.check_home()
    assert (check.ok, check.detail) == (False, f"{own_home} can't be written to")
    assert check.remedy == f"export TRANSFER_HOME={Path.home() / 'transfer'}"


def test_a_home_that_is_a_link_to_nowhere(own_home: Path) -> None:
    own_home.symlink_to(own_home.parent / "nowhere")
    check = doctor.check_home()
    assert (check.ok, check.detail) == (False, f"{own_home} can't be written to")
    assert doctor.check_disk().detail.endswith(" free")


def test_the_disk_of_the_home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(own_home.parent).free / 1e9
    check = doctor.check_disk()
    assert float(check.detail.split()[-3]) == pytest.approx(free, abs=0.2)

    monkeypatch.setattr(doctor, "LEAST_FREE_DISK", 2**60)
    (own_home / "cache").mkdir(parents=True)
    check = doctor.check_disk()
    assert not check.ok
    assert check.detail.endswith(" free, 1152921.5 TB wanted")
    assert check.remedy == "transfer cache clear"


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    total, free = doctor.machine_memory()
    assert 0 < free <= total <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(doctor, "LEAST_FREE_MEMORY", 2**60)
    check = doctor.check_memory()
    assert (check.ok, check.remedy) == (False, None)
    assert check.detail.endswith(", 1152921.5 TB wanted")


def test_a_setting_that_can_not_be_used_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(nowhere))
    check = {check.name: check for check in doctor.examine()}["weights"]
    assert check == Check("weights", False, f"TRANSFER_WEIGHTS is {nowhere}, which is not a directory")


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transfer_core.runtime.devices", None)
    check = {check.name: check for check in doctor.examine()}["device"]
    assert (check.ok, check.remedy) == (False, "transfer setup")
    assert check.detail.startswith("ModuleNotFoundError: ")
