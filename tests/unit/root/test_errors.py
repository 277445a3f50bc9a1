from changedet.errors import DataError


def test_of_a_very_long_message_the_beginning_and_the_end_are_shown():
    text = str(DataError(f"a.yaml: {'x' * 10_000}; remove it"))
    assert len(text) < 2_100
    assert text.startswith("a.yaml: xxx")
    assert text.endswith("xxx; remove it")
    assert str(DataError("short")) == "short"
