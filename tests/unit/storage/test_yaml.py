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
