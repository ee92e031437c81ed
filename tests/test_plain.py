"""JSON and YAML that anybody may have written: plain data within limits, or one line that says what is wrong."""

import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aectl import plain
from aectl.plain import Limits

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0\x85\ufeff\ufffe\uffff", exclude_categories=["Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=5), inner),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text("abc_/.", min_size=1, max_size=9), PLAIN, max_size=5))
@settings(max_examples=40, deadline=None)
def test_what_is_plain_comes_back(document):
    limits = Limits(depth=40)
    assert plain.from_json(json.dumps(document).encode(), limits) == document
    text = yaml.safe_dump(document, allow_unicode=True)
    if "&id" not in text and not any(key in ("<<", "=") for key in document):
        assert plain.from_yaml(text.encode(), limits) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("[]", "must hold a JSON object, found list"), ("null", "found NoneType"), ("", "Expecting value"),
     ('{"a": NaN}', "NaN is no JSON number"), ('{"a": 1e999}', "too large"), (f'{{"a": {"9" * 5000}}}', "too large"),
     ('{"a": 9223372036854775808}', "too large"), ('{"a": 1, "a": 2}', "the key 'a' stands there twice"),
     ('{"a": "\\u0000"}', "which is no letter"), ('{"a": "\\ud800"}', "which is no letter"),
     ('{"\\ud800": 1}', "which is no letter"), ('{"%s": 1}' % ("k" * 300), "at most 200"),
     ('{"a": "%s"}' % ("x" * 70_000), "at most 65536"), ('{"a":' * 17 + "1" + "}" * 17, "nested too deeply"),
     ("[" * 200_000, "more than the 131072 values"), ('{"a": ' * 100_000, "nested too deeply"),
     (f'{{"a": [{",".join(["[]"] * 70_000)}]}}', "more than the 131072 values"),
     ("{" + " " * 5_000_000 + "}", "is longer than")],
)  # fmt: skip
def test_other_json_is_refused_in_a_line(text, words):
    with pytest.raises(ValueError, match=words) as refused:
        plain.from_json(text.encode())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("- 1", "must hold a mapping, found list"), ("", "found NoneType"), ("{", "is no YAML"), (BOMB, "anchor"),
     ("a: &a [*a]", "anchor"), ("a: *b", "anchor or alias b"), ("a: !!python/object/apply:os.getcwd []", "the tag"),
     ("a: !!binary aGk=", "the tag"), ("a: !x y", "the tag"), ("a: 2024-01-01", "has a date"),
     ("a: 2024-13-45", "month must be"), ("a: .nan", "which is no number"), ("a: -.inf", "which is no number"),
     (f"a: {'1:' * 400}1.5", "too large"), (f"a: {'9' * 4000}", "too large"), ("a: 1\na: 2", "stands there twice"),
     ("<<: {a: 1}", "no text"), ("? [a]\n: b", "no text"), ("1: 2", "the key 1, which is no text"),
     ("a: 1\n---\nb: 2", "is no YAML"), ("a: \x01", "is no YAML"), ("a: =", "is no YAML"),
     ("a: " + "[" * 17 + "]" * 17, "nested too deeply"), ("a: " + "[" * 120_000, "nest"),
     ("a: {" + ", ".join(f"k{n}: {{}}" for n in range(90_000)) + "}", "values it may have")],
)  # fmt: skip
def test_other_yaml_is_refused_in_a_line_and_at_once(text, words):
    began = time.perf_counter()
    with pytest.raises(ValueError, match=words) as refused:
        plain.from_yaml(text.encode())
    assert "\n" not in str(refused.value)
    assert time.perf_counter() - began < 2


def test_yaml_without_the_parser_in_c(monkeypatch):
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert plain.from_yaml(b"a: [1, {b: 1.0e-3}]\nc: 'x'\n") == {"a": [1, {"b": 0.001}], "c": "x"}
    for text in (BOMB, "a: &a [*a]", "a: !!set {b}", "a: 1\na: 2", "a: " + "[" * 2_000):
        with pytest.raises(ValueError, match=r"anchor|tag|twice|deeply"):
            plain.from_yaml(text.encode())


def test_names_that_are_not_utf_8_are_text():
    """As files are named that the system gives as bytes."""
    assert plain.from_json(b'{"name": "a\\udce9.png"}') == {"name": "a\udce9.png"}


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1e-3", "1e-3"), ("[1,a]", [1, "a"]), ("null", None), ("x: y", {"x": "y"})]
)
def test_the_right_side_of_an_override_is_a_line_of_yaml(text, value):
    assert plain.value_of(text) == value
    for other in (BOMB, "&a [*a]", "[" * 50, "2024-01-02", "x" * 70_000):
        with pytest.raises(ValueError, match=r"\w"):
            plain.value_of(other)
