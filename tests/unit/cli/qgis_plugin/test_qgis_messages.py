"""What the QGIS plugin makes of the lines of the command."""

import pytest

from changedet_qgis.messages import Line, Listener, Meaning


def test_progress_goes_from_reading_over_tiles_to_writing():
    listener = Listener()
    lines = [listener.hear(f"progress {done}/4\n") for done in range(5)]
    assert [line.percent for line in lines] == [5, 26.25, 47.5, 68.75, 90]
    assert {line.meaning for line in lines} == {Meaning.PROGRESS}
    assert [line.text for line in lines] == ["scoring", "", "", "", "writing the results"]


def test_notes_warnings_and_errors_are_told_apart():
    listener = Listener()
    assert listener.hear("common area 9x9 px\n") == Line(Meaning.NOTE, "common area 9x9 px")
    assert listener.hear("warning: far away\r\n") == Line(Meaning.WARNING, "far away")
    assert listener.hear("changedet: no file\n") == Line(Meaning.ERROR, "no file")
    assert listener.hear("progress of a kind\n").meaning is Meaning.NOTE
    assert listener.hear("\n") is None


def test_warnings_that_are_listed_again_are_shown_once():
    listener = Listener()
    texts = ["warning: a", "2 warnings:", "  a", "  b", "results: out", "  indented"]
    shown = [line.text for line in map(listener.hear, texts) if line]
    assert shown == ["a", "results: out", "  indented"]


@pytest.mark.parametrize(
    ("texts", "code", "expected"),
    [
        (["a note", "changedet: a.tif: no such file; check the path", "later"], 2, "a.tif: no su"),
        (["Traceback (most recent call last):", "KeyError: 'x'"], 1, "ended with code 1: KeyError"),
        (["a note"], -9, "ended by signal 9, often because memory ran out"),
        (["a note"], 137, "ended by signal 9, often because memory ran out"),
        (["a note"], -15, "ended by signal 15; finished tiles"),
        ([], 3, "changedet ended with code 3"),
        (["changedet: no such option: --progress (see x)"], 2, "older than the plugin"),
    ],
)
def test_a_failure_is_one_line(texts, code, expected):
    listener = Listener()
    for text in texts:
        listener.hear(text + "\n")
    why = listener.why(code)
    assert expected in why
    assert "\n" not in why
