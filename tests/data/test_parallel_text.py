"""Catalogues, translation memories and paired files, beside other readers of the same formats."""

from __future__ import annotations

import struct

import polib
import pytest

from transfer_core.data.mo_catalogue import read_mo
from transfer_core.data.pair_checks import main_script, pair_problems, pair_warnings
from transfer_core.data.pair_source import pair_columns, read_parallel_file, read_parallel_folder
from transfer_core.data.placeholders import placeholders
from transfer_core.data.po_catalogue import read_po
from transfer_core.data.translation_memory import read_tmx
from transfer_core.recipe.schema import Columns, Languages
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

PO = r"""
# translators
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n<5 ? 1 : 2);\n"

#: a.c:3
#, c-format
msgid "Open %s"
msgstr "Otevřít %s"

msgctxt "menu"
msgid "File"
msgstr "Soubor"

msgctxt "noun"
msgid "File"
msgstr "Pilník"

#, fuzzy
msgid "guessed"
msgstr "hádáno"

msgid "untranslated"
msgstr ""

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d soubor"
msgstr[1] "%d soubory"
msgstr[2] "%d souborů"

msgid ""
"several "
"lines with \"quotes\", a tab\t and \\n"
msgstr "ví"
"ce"

#~ msgid "obsolete"
#~ msgstr "starý"
"""


@pytest.fixture
def po(tmp_path):
    path = tmp_path / "cs.po"
    path.write_text(PO, encoding="utf-8")
    return str(path)


def texts(read):
    return [(pair.source, pair.target) for pair in read.pairs]


def of_polib(catalogue):
    found = []
    for entry in catalogue:
        if entry.obsolete or entry.fuzzy or not entry.msgid:
            continue
        if entry.msgid_plural:
            forms = [text for _, text in sorted(entry.msgstr_plural.items())]
            found += [(entry.msgid, forms[0]), (entry.msgid_plural, forms[-1])]
        elif entry.msgstr:
            found.append((entry.msgid, entry.msgstr))
    return found


def test_po_entries_are_those_of_polib(po):
    read = read_po(po)
    assert texts(read) == of_polib(polib.pofile(po))
    assert read.left_out == {"fuzzy": 1, "untranslated": 1}
    assert read.pairs[0].name.endswith("cs.po line 10")


def test_mo_entries_are_those_of_the_po_file(po, tmp_path):
    path = str(tmp_path / "cs.mo")
    polib.pofile(po).save_as_mofile(path)
    assert sorted(texts(read_mo(path))) == sorted(texts(read_po(po)))


def test_mo_of_the_other_byte_order(po, tmp_path):
    path = tmp_path / "cs.mo"
    polib.pofile(po).save_as_mofile(str(path))
    content = bytearray(path.read_bytes())
    _, _, count, sources, targets, _, _ = struct.unpack_from("<7I", content)
    for place in (
        *range(0, 28, 4),
        *range(sources, sources + 8 * count, 4),
        *range(targets, targets + 8 * count, 4),
    ):
        content[place : place + 4] = content[place : place + 4][::-1]
    (tmp_path / "big.mo").write_bytes(content)
    assert texts(read_mo(str(tmp_path / "big.mo"))) == texts(read_mo(str(path)))


def test_a_damaged_mo_is_an_error(po, tmp_path):
    path = tmp_path / "cs.mo"
    polib.pofile(po).save_as_mofile(str(path))
    content = path.read_bytes()
    for cut in (0, 3, 10, 30, len(content) - 5):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match="not a compiled gettext catalogue"):
            read_mo(str(path))
    path.write_bytes(content[:8] + struct.pack("<I", 2**31) + content[12:])
    with pytest.raises(DataError, match="max_rows"):
        read_mo(str(path))


def test_a_line_that_is_no_po_is_named(tmp_path):
    path = tmp_path / "x.po"
    path.write_text('msgid "a"\nmsgstr "b"\nhello\n')
    with pytest.raises(DataError, match=r"x\.po line 3: expected msgid"):
        read_po(str(path))


TMX = """<?xml version="1.0"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en-US" datatype="plaintext"/><body>
<tu><tuv xml:lang="en-US"><seg>Good <bpt i="1">&lt;b&gt;</bpt>morning<ept i="1">&lt;/b&gt;</ept>!</seg></tuv>
<tuv xml:lang="gl"><seg>Bo día!</seg></tuv></tu>
<tu><tuv xml:lang="gl"><seg>Non &amp; si</seg></tuv><tuv xml:lang="en-US"><seg>No &amp; yes</seg></tuv></tu>
<tu><tuv xml:lang="en-US"><seg>alone</seg></tuv></tu>
</body></tmx>"""


def test_tmx_units(tmp_path):
    path = tmp_path / "m.tmx"
    path.write_text(TMX)
    read = read_tmx(str(path), None, None)
    assert texts(read) == [("Good morning!", "Bo día!"), ("No & yes", "Non & si")]
    assert read.left_out == {"untranslated": 1}
    assert texts(read_tmx(str(path), "gl", "en")) == [("Bo día!", "Good morning!"), ("Non & si", "No & yes")]
    with pytest.raises(DataError, match='no language "de" \\(found: "en-US", "gl"\\)'):
        read_tmx(str(path), "en", "de")


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE tmx [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE tmx [<!ENTITY % a SYSTEM "file:///etc/passwd">%a;]>',
    ],
)
def test_entities_are_refused(tmp_path, doctype):
    path = tmp_path / "m.tmx"
    path.write_text(TMX.replace('<!DOCTYPE tmx SYSTEM "tmx14.dtd">', doctype))
    with pytest.raises(DataError, match="declares entities"):
        read_tmx(str(path), None, None)


def test_broken_xml_is_named(tmp_path):
    path = tmp_path / "m.tmx"
    path.write_text(TMX[:-20])
    with pytest.raises(DataError, match="not valid XML"):
        read_tmx(str(path), None, None)


def folder_of(tmp_path, **files):
    for name, lines in files.items():
        (tmp_path / name.replace("_", ".")).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path)


def read_folder(folder, **columns):
    return read_parallel_folder(folder, Columns(**columns), Languages(), Progress())


def test_paired_files_are_parts_by_their_names(tmp_path):
    folder = folder_of(tmp_path, train_en=["a", "b"], train_de=["A", "B"], test_en=["c"], test_de=["C"])
    found = read_folder(folder, input="en", target="de")
    assert [(e.input, e.label, e.split) for e in found] == [
        ("c", "C", "test"), ("a", "A", "train"), ("b", "B", "train"),
    ]  # fmt: skip
    languages = read_parallel_folder(folder, Columns(), Languages("de", "en"), Progress())
    assert languages[0].input == "C"


def test_paired_files_of_different_lengths_are_an_error(tmp_path):
    folder = folder_of(tmp_path, x_en=["a", "b"], x_de=["A"])
    with pytest.raises(DataError, match=r'"x\.en", "x\.de" have 2 and 1 lines'):
        read_folder(folder, input="en", target="de")


def test_a_folder_without_parallel_text_explains_what_is_expected(tmp_path):
    folder = folder_of(tmp_path, x_en=["a"])
    with pytest.raises(DataError, match=r"no parallel text: expected files \*\.po, \*\.mo, \*\.tmx"):
        read_folder(folder)


def test_catalogues_below_a_folder(po, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "more.po").write_text('msgid "a"\nmsgstr "b"\n')
    events = []
    found = read_parallel_folder(str(tmp_path), Columns(), Languages(), Progress(events.append))
    assert len(found) == len(read_po(po).pairs) + 1
    assert "(1 fuzzy, 1 untranslated)" in events[-1]["message"]
    assert len(read_parallel_file(po, Columns(), Languages(), Progress())) == len(found) - 1


def test_columns_of_pairs():
    assert pair_columns("x.csv", ["id", "source", "target"], Columns()) == Columns("source", "target")
    assert pair_columns("x.csv", ["text", "label"], Columns()) == Columns("text", "label")
    assert pair_columns("x.csv", ["en", "de"], Columns("en", "de")) == Columns("en", "de")
    message = r'x\.csv has no column source and no column target \(found: "en", "gl"\). Fix: columns: { input'
    with pytest.raises(DataError, match=message):
        pair_columns("x.csv", ["en", "gl"], Columns())
    with pytest.raises(DataError, match="has no column target"):
        pair_columns("x.csv", ["en", "gl"], Columns("en"))


def test_problems_of_pairs():
    sources = ["Open the file", "Close", "x", "Print", "Go", "MP3 player"]
    targets = [
        "Abrir o ficheiro",
        " ",
        "a sentence that is far longer than one letter",
        "Печать",
        "Ir",
        "MP3",
    ]
    sources += [f"sentence {i}" for i in range(20)]
    targets += [f"frase número {i}" for i in range(20)]
    found = pair_problems(sources, targets)
    assert sorted(found) == [1, 2, 3]
    assert found[1] == "the target is empty"
    assert "1 and 45 characters" in found[2]
    assert found[3] == "the target is Cyrillic, the other targets are Latin"


def test_a_mixed_corpus_has_no_wrong_script():
    targets = ["привет мир", "hello world"] * 5
    assert main_script(targets) == ""
    assert pair_problems(["a b c d e"] * 10, targets) == {}


def test_warnings_have_counts_and_examples():
    sources = ["Copy %d files", "OK", "Save {name}"]
    targets = ["Copiar ficheiros", "OK", "Gardar {name}"]
    same, other = pair_warnings(sources, targets, copies=True)
    assert same.startswith("1 pair of 3 have the source as target") or "1 pair" in same
    assert '("OK")' in same
    assert '"Copy %d files"' in other
    assert [*pair_warnings(sources, targets, copies=False)] == [other]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%(count)d of %s", ["%(count)d", "%s"]),
        ("{0} and ${name}, $1", ["${name}", "$1", "{0}"]),
        ("50% done, 20%discount", []),
        ("%PRODUCTNAME %1$s $(ARG1)", ["$(ARG1)", "%1$s", "%PRODUCTNAME"]),
    ],
)
def test_placeholders(text, expected):
    assert sorted(placeholders(text)) == sorted(expected)
