import time

import pytest
import yaml

from changedet.storage.yaml import parse_yaml


@pytest.mark.parametrize(
    "text",
    ["a: 1\nb: 2\na: 3", "x: {a: 1, a: 1}", "- {1: a, 1: b}", "a: &m {}\nb: {<<: *m, <<: *m}"],
)
def test_a_key_that_is_there_twice_is_refused_with_its_place(text):
    with pytest.raises(yaml.YAMLError, match=r"occurs twice; remove one(.|\n)*line"):
        parse_yaml(text)


def test_equal_keys_of_different_mappings_and_of_different_types_are_none():
    assert parse_yaml("a: {k: 1}\nb: {k: 2}") == {"a": {"k": 1}, "b": {"k": 2}}
    assert parse_yaml("1: a\n'1': b") == {1: "a", "1": "b"}


def test_what_is_merged_may_be_overridden_also_where_it_is_merged_again():
    text = "base: &a {x: 1}\nouter: {b: &b {<<: *a, x: 2}}\nc: {<<: *b}"
    assert parse_yaml(text) == {"base": {"x": 1}, "outer": {"b": {"x": 2}}, "c": {"x": 2}}


@pytest.mark.parametrize("text", ["a: [", "!!map [1]", "? [1]\n: 2", "!!python/name:os.system"])
def test_what_is_no_yaml_of_plain_types_is_one_kind_of_error(text):
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)


def test_dates_stay_text_also_where_there_is_no_such_day():
    assert parse_yaml("[2019-02-30, 2019-02-28]") == ["2019-02-30", "2019-02-28"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: " + "9" * 10_000, "a number of 10000 characters is too long"),
        ("a: 0x" + "f" * 100_000, "is too long"),
        ("a: " + ":".join(["59"] * 50_000), "is too long"),
        ("[" * 200_000, "nested more than 64 levels"),
        ("- " * 200_000, "nested more than 64 levels"),
        ("{a: " * 1_000 + "1" + "}" * 1_000, "nested more than 64 levels"),
        ("&a [*a]", "contains itself"),
        ("&a {k: {<<: *a}}", "contains itself"),
        ("[" + "1," * 400_000 + "]", "more than 300,000"),
        ("!!timestamp x", "could not determine a constructor"),
        ("!!int x", "cannot be read"),
        ("!!bool x", "cannot be read"),
        ("!!set {a, b}", "could not determine a constructor"),
        ("!!binary 'aGk='", "could not determine a constructor"),
        ("a\0b", "characters are not allowed"),
        ("a: b\n\tc: d", "scanning"),
        ("\udcff", "cannot be read"),
    ],
)
def test_hostile_documents_are_refused_at_once(text, fault):
    began = time.monotonic()
    with pytest.raises(yaml.YAMLError, match=fault):
        parse_yaml(text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_that_double_their_meaning_again_and_again_are_refused(kind):
    lines = ["a0: &a0 {k: v}"]
    for number in range(1, 40):
        lines.append(f"a{number}: &a{number} " + kind.format(f"*a{number - 1}, *a{number - 1}"))
    with pytest.raises(yaml.YAMLError, match="aliases that grow"):
        parse_yaml("\n".join(lines))


def test_aliases_within_bounds_are_fine():
    lines = ["a0: &a0 {k: v}", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 20))]
    assert parse_yaml("\n".join(lines))["a2"] == [[{"k": "v"}]]
