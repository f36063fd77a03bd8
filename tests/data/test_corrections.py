"""Corrections: relabelling and leaving out, and errors with the number of the line."""

import pytest

from transfer_core.data.corrections import corrected
from transfer_core.data.example import Example
from transfer_core.runtime.errors import DataError

HEADER = "input,kind,label,suggested,score,keep,detail\n"
PHOTOS = [Example(f"p/{name}", name[0], None, f"p/{name}") for name in ("a1.png", "a,2.png", "b\n3.png")]
VALUES = [Example((1.0,), 2.5, None, "row 1", ("x",)), Example((2.0,), ["r", "s"], None, "row 2", ("x",))]


@pytest.fixture
def of(tmp_path):
    def write(text, examples=PHOTOS):
        path = tmp_path / "audit.csv"
        path.write_text(text)
        return [(one.input, one.label) for one in corrected(examples, str(path))]

    return write


def test_labels_change_and_inputs_are_left_out(of):
    found = of(
        HEADER
        + "p/a1.png,outlier,a,,0.9,yes,x\n"
        + 'p/a1.png,wrong_label,b,,0.9,yes,x\n"p/a,2.png",duplicate,a,,1,no,x\n'
        + '"p/b\n3.png",wrong_label,b,a,0.9,Yes,x\n'
    )
    assert found == [("p/a1.png", "b"), ("p/b\n3.png", "b")]


def test_rows_are_named_by_number_and_other_columns_are_ignored(of):
    assert of("keep,label,input\nno,,2\n") == [(PHOTOS[0].input, "a"), (PHOTOS[2].input, "b")]
    assert of("keep,label,input\nyes,7,1\nyes,t; s,2\n", VALUES) == [((1.0,), 7.0), ((2.0,), ["t", "s"])]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "line 1: the file is empty"),
        ("input,keep\n", "line 1: there is no column label"),
        (HEADER + "p/zz.png,x,a,,1,yes,d\n", "line 2: no example of the data is p/zz.png"),
        (HEADER + '"p/b\n3.png",x,b,,1,yes,d\np/a1.png,x,a,,1,maybe,d\n', "line 4: keep is yes or no"),
        (HEADER + "p/a1.png,x,a\n", "line 2: 3 cells, expected 7"),
        (
            HEADER + "p/a1.png,x,c,,1,yes,d\n1,x,d,,1,yes,d\n",
            r'line 3: the label "d" contradicts "c" in .* line 2',
        ),
        (HEADER + '"p/a1.png,x\n', "line 2: unexpected end of data"),
    ],
)
def test_wrong_tables_are_errors_with_the_line(of, lines, message):
    with pytest.raises(DataError, match=message):
        of(lines)


def test_wrong_values_and_files(of, tmp_path):
    with pytest.raises(DataError, match=r'line 2: expected a number as label \(got "red"\)'):
        of("input,label,keep\n1,red,yes\n", VALUES)
    with pytest.raises(DataError, match="can't be read: no such file"):
        corrected(PHOTOS, str(tmp_path / "none.csv"))
    (tmp_path / "latin.csv").write_bytes(b"input,label,keep\n\xe9,a,yes\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        corrected(PHOTOS, str(tmp_path / "latin.csv"))
