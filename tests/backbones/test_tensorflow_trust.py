"""SavedModels that reach for files, sockets, memory and time, without trust.

TensorFlow makes and runs them in processes of their own (make_hostile_models.py), also without protection, to
measure that each of them does harm then.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

import transfer_core
from photos import class_folder
from transfer_core.backbones import untrusted
from transfer_core.backbones.tensorflow import tensorflow_process
from transfer_core.backbones.tensorflow.saved_model import read_files, write_files
from transfer_core.backbones.tensorflow.tensorflow_process import process_for
from transfer_core.runtime.errors import ModelFileError, OutOfMemory, RecipeError
from transfer_core.sandbox import landlock
from transfer_core.sandbox.syscalls import architecture

pytestmark = [pytest.mark.slow, pytest.mark.extras]

MAKER = Path(__file__).with_name("make_hostile_models.py")
SECRET = "s" * 1234

READING = {
    *("ReadFile", "WholeFileReaderV2", "TextLineDataset", "FixedLengthRecordDatasetV2", "ImmutableConst"),
    *("MatchingFiles", "table"),
}
WRITING = {
    *("WriteFile", "SaveV2", "Save", "CacheDataset", "CreateSummaryFileWriter", "PrintV2", "DebugIdentity"),
    *("branch", "loop", "case", "call", "initializer", "creator"),
    *("old_signature", "old_initializer", "old_saver"),
}

confines = pytest.mark.skipif(
    not landlock.version() or architecture() is None, reason="this kernel can't confine a process"
)


class Listener:
    """Counts connections to a port of this machine."""

    def __init__(self):
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(4) == b"end.":
                    return
                self.connections += 1

    def close(self):
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"end.")
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def listener():
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def made(listener, tmp_path_factory):
    """A folder of hostile SavedModels, in which nothing was read or written yet."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "written").mkdir()
    (root / "secret").write_text(SECRET)
    run(root, "make", listener.port)
    for path in (root / "written").iterdir():  # some are run when they are saved
        path.unlink()
    return root


def run(root, way, *arguments):
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, MAKER, way, root, *map(str, arguments)]
    ran = subprocess.run(command, env=variables, capture_output=True, check=True)
    return json.loads(ran.stdout or "null")


@pytest.fixture(scope="module")
def operations(made):
    """All that TensorFlow has, by name, and the names of those that are allowed."""
    found = json.loads((made / "operations.json").read_text())
    return {each["name"]: each for each in found["known"]}, set(found["allowed"])


# In the order in which nothing is written until the SavedModels run as they are.


@confines
def test_a_confined_process_runs_none_of_them_even_if_every_operation_is_allowed(made, listener):
    found = run(made, "confine")
    assert set(found) > READING | WRITING | {"RpcClient"}
    # That a file exists is not kept from it.
    assert {name for name in READING if found[name].get("value") == len(SECRET)} == {"MatchingFiles"}
    assert list((made / "written").iterdir()) == []
    assert (made / "secret").read_text() == SECRET
    assert listener.connections == 0


def test_without_confinement_the_list_of_operations_stops_all_of_them(made, listener):
    found = run(made, "clean")
    cleaned, harm = found["cleaned"], found["run"]
    assert found["written by cleaned"] == []
    # The saver that writes is left out: TensorFlow's own restored the variable.
    assert cleaned.pop("old_saver") == {"value": 3.0}
    assert {name for name, result in cleaned.items() if "untrusted" not in result} == set()
    for name, result in cleaned.items():
        used = name if name[0].isupper() else "WriteFile"
        used = {"CacheDataset": "CacheDatasetV2", "table": "InitializeTableFromTextFileV2"}.get(name, used)
        assert used in result["untrusted"].split(", ")

    # As they are, they do what they were made for.
    assert {name for name in READING if harm[name].get("value") == len(SECRET)} == READING
    assert {name.partition(".")[0] for name in found["written by run"]} == WRITING
    assert listener.connections > 0


# A saved model.


def test_a_saved_model_that_was_trained_with_trust_needs_it_elsewhere(made, tmp_path, monkeypatch):
    target = made / "written" / "branch"
    target.unlink(missing_ok=True)
    photos = class_folder(tmp_path / "photos", per_class=4)
    backbone = f"tensorflow:{made}/models/branch"
    with pytest.raises(RecipeError, match=r"^trust: .*WriteFile\. Fix: `trust: true` "):
        transfer_core.train(backbone=backbone, data=photos)
    assert not target.exists()
    model = transfer_core.train(backbone=backbone, data=photos, trust=True)
    file = model.save(tmp_path / "model.transfer")
    assert target.exists()

    target.unlink()
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "fresh"))
    photo = f"{photos}/sky/0.png"
    with pytest.raises(RecipeError, match=r"^trust: .*WriteFile\. Fix: `trust: true` "):
        transfer_core.load(file).predict(photo)
    assert not target.exists()
    assert transfer_core.load(file, trust=True).predict(photo)["label"]
    assert target.exists()


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb", "keras_metadata.pb", "other/x"])
def test_files_that_the_format_has_not_are_refused(name, tmp_path):
    with pytest.raises(ModelFileError, match=rf'with the file "{re.escape(name)}" is refused'):
        write_files({"saved_model.pb": b"", name: b""}, tmp_path)


def test_a_link_to_a_file_elsewhere_is_not_read(made, tmp_path):
    write_files(read_files(made / "models" / "call"), tmp_path)
    (tmp_path / "assets").mkdir(exist_ok=True)
    (tmp_path / "assets" / "secret").symlink_to(made / "secret")
    with pytest.raises(ModelFileError, match=r"its file assets/secret is a link to a file elsewhere"):
        read_files(tmp_path)


# Memory and time.


def process_of(folder):
    return process_for(folder.name, folder.name, partial(read_files, folder), 8, False)


def test_a_graph_that_takes_more_memory_than_is_free(made, monkeypatch):
    monkeypatch.setattr(tensorflow_process, "machine_memory", lambda: (4 << 30, 1 << 28))
    with pytest.raises(OutOfMemory, match=r"^fill needs more memory than is free here: "):
        process_of(made / "bombs" / "fill").interface()


def test_a_graph_that_never_ends(made, monkeypatch):
    import numpy as np

    endless = process_of(made / "bombs" / "endless")
    assert endless.interface().width == 3  # of one image
    monkeypatch.setattr(untrusted, "BATCH_S", 0.5)
    monkeypatch.setattr(untrusted, "IMAGE_S", 0.0)
    with pytest.raises(ModelFileError, match=r"^endless can't be used: it exceeded the time limit"):
        endless(np.zeros((2, 3, 8, 8), np.float32))


# The list of operations.

# Stateful, but of the SavedModel alone: its variables, its random numbers, its functions, its checks.
STATEFUL = {
    *("VarHandleOp", "VarIsInitializedOp", "ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp"),
    *("AssignSubVariableOp", "VariableShape", "ResourceGather", "ResourceGatherNd", "Variable", "VariableV2"),
    *("RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal", "RngReadAndSkip"),
    *("RngSkip", "StatefulStandardNormal", "StatefulStandardNormalV2", "StatefulTruncatedNormal"),
    *("StatefulUniform", "StatefulUniformFullInt", "StatefulUniformInt", "StatelessRandomGetAlg"),
    *("If", "While", "Case", "StatefulPartitionedCall", "Assert", "CheckNumerics", "GuaranteeConst"),
    *("TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArraySizeV3"),
    *("TensorArrayGatherV3", "TensorArrayScatterV3"),
}
FUNCTIONS = {
    *("If", "While", "Case", "StatelessIf", "StatelessWhile", "StatelessCase"),
    *("PartitionedCall", "StatefulPartitionedCall"),
}
STRINGS = {"DecodeBase64", "DecodeImage", "DecodeJpeg", "DecodePng"}
# Names of operations that reach out of the graph.
REACHING = re.compile(
    r"File|Read|Writ|Save|Restore|Checkpoint|Dataset|Iterator|Summary|Print|Dump|Log(ging|ger)|PyFunc|Rpc|Send|Recv"
    r"|Queue|Record|Table|Remote|Debug|Session|Stage|Barrier|Collective|TPU|Tpu|Xla|Nccl|Cache|Mutex|Server|Worker"
    r"|Custom|Plugin|Host|Copy|Immutable|Device|Abort|Sleep|Timestamp|SymbolicGradient|MapDefun"
)
HARMLESS = {"ReadVariableOp", "RngReadAndSkip", "TensorArrayReadV3", "TensorArrayWriteV3"}


def test_every_allowed_operation_exists(operations):
    known, allowed = operations
    assert len(known) > 1000
    assert allowed <= set(known)


def test_no_stateful_operation_is_allowed_but_those_of_the_graph_itself(operations):
    known, allowed = operations
    assert {name for name in allowed if known[name].get("is_stateful")} == STATEFUL & allowed == STATEFUL


def test_no_operation_is_allowed_whose_name_hints_at_more_than_numbers(operations):
    known, allowed = operations
    hints = {name for name in known if REACHING.search(name)}
    assert {"PyFuncStateless", "ImmutableConst", "DebugIdentity", "LoadDataset", "WriteFile"} <= hints
    assert hints & allowed == HARMLESS


def test_no_operation_is_allowed_that_names_files_or_shared_resources(operations):
    known, allowed = operations
    attributes = {name: {each["name"] for each in known[name].get("attr", ())} for name in allowed}
    named = {name for name, found in attributes.items() if found & {"shared_name", "container"}}
    assert named == {"VarHandleOp", "Variable", "VariableV2"}
    pattern = re.compile(
        "file|path|dir|url|address|server|target|pattern|token|memory_region|stream|protocol"
    )
    assert {name for name, found in attributes.items() if any(map(pattern.search, found))} == set()
    assert known["ImmutableConst"]["attr"][-1]["name"] == "memory_region_name"


def test_operations_that_run_functions_or_take_texts_are_known(operations):
    known, allowed = operations
    runs = {name for name in allowed if any("func" in each["type"] for each in known[name].get("attr", ()))}
    assert runs == FUNCTIONS
    takes = {
        name
        for name in allowed
        if any(each.get("type") == "DT_STRING" for each in known[name].get("input_arg", ()))
    }
    assert takes == STRINGS
