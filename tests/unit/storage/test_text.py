import pytest

from changedet.storage.text import first_few, printable


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
