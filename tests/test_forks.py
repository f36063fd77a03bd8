"""Forked children of a process in which an engine has run exit with their own status."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import os, sys
import numpy as np
import onnx
from onnx import TensorProto, helper
from transfer_core.features.engines.{engine}_engine import {name}

rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 8])
sums = helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["n", 8])
graph = helper.make_graph([helper.make_node("Add", ["rows", "rows"], ["sums"])], "twice", [rows], [sums])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
engine = {name}(model.SerializeToString, {argument!r})
assert engine.run(np.ones((4, 8), np.float32)).sum() == 64
child = os.fork()
if child == 0:
    print("the child's last words")
    sys.exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    ("engine", "name", "argument"),
    [("openvino", "OpenVinoEngine", "float32"), ("onnxruntime", "OnnxRuntimeEngine", "cpu")],
)
def test_a_child_exits_with_its_status_and_output(engine, name, argument):
    if find_spec(engine) is None:
        pytest.skip(f"needs {engine}")
    code = CODE.format(engine=engine, name=name, argument=argument)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (7, "the child's last words\n"), done.stderr
