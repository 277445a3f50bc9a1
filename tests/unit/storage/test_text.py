import pytest

from changedet.storage.text import first_few


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
