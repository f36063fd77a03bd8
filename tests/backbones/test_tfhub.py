"""Where TF Hub's modules are found, and what is refused of what comes from there. No TensorFlow here."""

import io
import tarfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from transfer_core.backbones.registry import source_of
from transfer_core.backbones.tensorflow import tfhub
from transfer_core.backbones.tensorflow.saved_model import folder_digest, read_files, write_files
from transfer_core.backbones.tensorflow.tfhub import cache_name, find_saved_model, handle_of, unpack
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, WeightsNotFound

PATH = "google/imagenet/mobilenet_v2_100_224/feature_vector/4"
NAME, HANDLE = f"tfhub:{PATH}", f"https://tfhub.dev/{PATH}"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def saved_model(folder):
    write_files({"saved_model.pb": b"graph", "variables/variables.index": b"index"}, folder)
    return folder


def archive(**files):
    """A tar.gz as TF Hub sends it; what has no content is a type of tar's, as a link to a file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content in SPECIAL:
                member.type, member.linkname = content, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


SPECIAL = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)
MODULE = {"./": tarfile.DIRTYPE, "./saved_model.pb": b"graph", "./variables/v.index": b"index"}
WHOLE = archive(**MODULE)


@pytest.mark.parametrize(("name", "handle"), [(NAME, HANDLE), (HANDLE, HANDLE), (f"{NAME}/", HANDLE)])
def test_names_stand_for_handles(name, handle):
    assert source_of(name).name == "tensorflow"
    assert handle_of(name) == handle


def test_folders_of_the_cache_are_called_as_tf_hub_calls_them():
    """What people have in their caches, as their own programs name it."""
    assert (
        cache_name("https://tfhub.dev/google/universal-sentence-encoder-large/3")
        == "96e8f1d3d4d90ce86b2db128249eb8143a91db73"
    )


@pytest.mark.parametrize("variable", ["TFHUB_CACHE_DIR", "TRANSFER_WEIGHTS"])
@pytest.mark.parametrize(
    "inner", [cache_name(HANDLE), cache_name(f"{HANDLE}?tf-hub-format=compressed"), PATH]
)
def test_a_copy_is_found(tmp_path, monkeypatch, variable, inner):
    folder = saved_model(tmp_path / inner)
    monkeypatch.setenv(variable, str(tmp_path))
    assert find_saved_model(NAME) == find_saved_model(HANDLE) == folder


def test_a_folder_that_is_not_whole_is_no_copy(tmp_path, monkeypatch):
    (tmp_path / cache_name(HANDLE)).mkdir()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(WeightsNotFound):
        find_saved_model(NAME)


def test_what_is_not_found_says_where_it_was_looked_for(tmp_path, monkeypatch, home):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    with pytest.raises(WeightsNotFound) as raised:
        find_saved_model(NAME)
    assert str(raised.value).splitlines() == [
        f"no copy of {HANDLE}. Searched:",
        "  TRANSFER_WEIGHTS: not set",
        f"  TF Hub's cache: {tmp_path / 'hub'}",
        f"  earlier downloads: {home / 'weights/tfhub'}",
        f"  {HANDLE}?tf-hub-format=compressed: not tried, TRANSFER_OFFLINE is set",
        "Fix, one of:",
        f"  TRANSFER_WEIGHTS=folder      a directory with the SavedModel at {PATH}",
        f"  TFHUB_CACHE_DIR=folder       a directory with the SavedModel at {cache_name(HANDLE)}",
        '  backbone "tensorflow:folder" a SavedModel of your own',
        "  unset TRANSFER_OFFLINE       downloads it",
    ]


def test_a_folder_of_ones_own(tmp_path):
    folder = saved_model(tmp_path / "mine")
    assert find_saved_model(f"tensorflow:{folder}") == folder
    with pytest.raises(WeightsNotFound, match=f"^backbone: the directory {tmp_path}/other does not exist$"):
        find_saved_model(f"tensorflow:{tmp_path}/other")
    with pytest.raises(
        ModelFileError, match=f"^{tmp_path} is not a SavedModel: it has no file saved_model.pb$"
    ):
        find_saved_model(f"tensorflow:{tmp_path}")


def test_weights_of_a_place_that_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="which is not a directory"):
        find_saved_model(NAME)


@pytest.fixture
def hub(monkeypatch):
    """A server in the place of TF Hub; gives the requests that it got and the bodies that it sends."""
    asked, bodies = [], {f"/{PATH}?tf-hub-format=compressed": WHOLE}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = bodies.get(self.path)
            if body is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.delenv("TRANSFER_OFFLINE")
    monkeypatch.setattr(tfhub, "SITE", f"http://127.0.0.1:{server.server_port}/")
    yield asked, bodies
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def test_a_module_is_downloaded_once(hub, home):
    asked, _ = hub
    folder = find_saved_model(NAME)
    assert folder.parent == home / "weights/tfhub"
    assert read_files(folder) == {"saved_model.pb": b"graph", "variables/v.index": b"index"}
    assert find_saved_model(NAME) == folder
    assert asked == [f"/{PATH}?tf-hub-format=compressed"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (None, WeightsNotFound, "failed, HTTP Error 404: Not Found"),
        (b"<html>", ModelFileError, "can't unpack module.tar.gz"),
        (WHOLE[:-60], ModelFileError, "can't unpack module.tar.gz"),
        (archive(**{"other.pb": b""}), ModelFileError, "is not a SavedModel: it has no file saved_model.pb"),
    ],
    ids=["nothing", "a page", "cut short", "something else"],
)
def test_a_download_that_is_none_leaves_nothing_behind(hub, home, body, error, message):
    _, bodies = hub
    bodies[f"/{PATH}?tf-hub-format=compressed"] = body
    with pytest.raises(error, match=message):
        find_saved_model(NAME)
    assert list((home / "weights/tfhub").iterdir()) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../out": b""}, 'the file "../out" is refused: it is outside its directory'),
        ({"variables/../../out": b""}, 'the file "variables/../../out" is refused'),
        ({"/tmp/out": b""}, 'the file "/tmp/out" is refused'),
        ({"assets/link": tarfile.SYMTYPE}, 'with "assets/link" is refused: it is not a file'),
        ({"assets/link": tarfile.LNKTYPE}, 'with "assets/link" is refused: it is not a file'),
        ({"assets/pipe": tarfile.FIFOTYPE}, 'with "assets/pipe" is refused: it is not a file'),
    ],
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(tmp_path, files, message):
    (tmp_path / "a.tar.gz").write_bytes(archive(**files))
    with pytest.raises(ModelFileError, match=message):
        unpack(tmp_path / "a.tar.gz", tmp_path / "in/folder")
    assert not list(tmp_path.rglob("out"))


def test_files_of_a_saved_model_that_reach_out_of_its_folder_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="is refused"):
        write_files({"variables/../../out": b""}, tmp_path / "folder")


def test_the_digest_is_of_what_belongs_to_a_saved_model(tmp_path):
    folder = saved_model(tmp_path / "one")
    before = folder_digest(folder)
    assert before == folder_digest(saved_model(tmp_path / "two"))
    (folder / "notes.txt").write_text("mine")
    assert folder_digest(folder) == before
    (folder / "variables/variables.index").write_bytes(b"other index")
    assert folder_digest(folder) != before
