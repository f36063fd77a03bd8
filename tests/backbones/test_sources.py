"""The packages of the sources, read as text: importing them would need every optional library."""

import ast
import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

import transfer_core.backbones
from transfer_core.backbones.facts import SourceName
from transfer_core.backbones.registry import Source

ROOM = Path(transfer_core.backbones.__file__).parent
SOURCES = get_args(SourceName)


def parsed(path):
    return ast.parse(path.read_text("utf-8"))


def test_every_package_of_this_room_but_none_else_is_a_source_s():
    assert {path.parent.name for path in ROOM.glob("*/__init__.py")} == set(SOURCES)
    assert len(SOURCES) == 8


@pytest.mark.parametrize("name", SOURCES)
def test_a_package_imports_nothing_by_itself(name):
    (statement,) = parsed(ROOM / name / "__init__.py").body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value.value, str)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_the_functions_of_the_interface(name):
    functions = {
        statement.name: [argument.arg for argument in statement.args.args]
        for statement in parsed(ROOM / name / f"{name}_loading.py").body
        if isinstance(statement, ast.FunctionDef)
    }
    for wanted in ("facts", "load", "restore"):
        _, *expected = inspect.signature(getattr(Source, wanted)).parameters
        assert functions[wanted] == expected


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_tensorflow_s_process_imports_no_torch():
    code = (
        "import sys, transfer_core.backbones.tensorflow.tensorflow_server; sys.modules['keras'] = None;"
        "import transfer_core.backbones.tensorflow.graph_endpoint;"
        "print('tensorflow' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
