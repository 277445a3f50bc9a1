import pytest

from changedet.errors import DataError
from changedet.storage.text import exists, first_few, is_file, plain_cell, printable, read_text


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([], {}, ""),
        (["a", "b", "c"], {}, "a, b, c"),
        (["a", "b", "c", "d", "e"], {}, "a, b, c and 2 more"),
        ([1, 2, 3], {"most": 2}, "1, 2 and 1 more"),
        (["one", "two"], {"separator": "; "}, "one; two"),
        (["one", "two", "three", "four"], {"separator": "; "}, "one; two; three; and 1 more"),
    ],
)
def test_the_first_few_are_named_and_the_others_counted(values, options, expected):
    assert first_few(values, **options) == expected


def test_characters_that_act_on_a_terminal_are_written_out():
    assert (
        printable("a\x1b[31mb\x7f\x9b\u202e\udcff\r")
        == r"a\u001b[31mb\u007f\u009b\u202e\udcff\u000d"
    )
    assert printable("größer\t中文\n") == "größer\t中文\n"
    assert printable("\x1b[31mred\x1b[2J", colours="keep") == "\x1b[31mred\\u001b[2J"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_in_the_encodings_that_editors_write(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("größe: 1\n".encode(encoding))
    assert read_text(tmp_path / "a.txt", error=DataError) == "größe: 1\n"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a: 1\nb: gr\xf6\xdfe", r"as UTF-8 text \(byte 0xf6 in line 2\)"),
        (b"\xff\xfea", "as UTF-8 text"),
        (b"a\0b", "NUL bytes"),
    ],
)
def test_what_is_no_text_is_refused_with_the_line(tmp_path, content, fault):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=fault):
        read_text(tmp_path / "a.txt", error=DataError)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "none.txt", "."])
def test_files_that_are_not_there_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="cannot read"):
        read_text(tmp_path / name, error=DataError)
    assert not is_file(tmp_path / name)
    assert exists(tmp_path / name) == (name == ".")


@pytest.mark.parametrize(
    "text", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]
)
def test_a_cell_starts_no_formula(text):
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1, -0.5, "-0.5", "+3", "-inf", "a=b", "", None])
def test_numbers_and_other_texts_stay_in_a_cell(value):
    assert plain_cell(value) == value
