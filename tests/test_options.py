"""Options written as text."""

import pytest

from kerazoo import _options


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("flip", "flip", {}),
        ("flip:", "flip", {}),
        ("shift:max_shift=2", "shift", {"max_shift": 2}),
        ("shift:max_shift=-2,fill=0.5", "shift", {"max_shift": -2, "fill": 0.5}),
        ("conv:filters=(8,16),strides=[1, 2],rate=.5", "conv", {"filters": (8, 16), "strides": [1, 2], "rate": 0.5}),
        ("a:b={'c': (1, 2), 'd,e': 3},f=True", "a", {"b": {"c": (1, 2), "d,e": 3}, "f": True}),
        ("a:b='x,y=1',c=\"it's\"", "a", {"b": "x,y=1", "c": "it's"}),
        ("a:b=it's,c=None", "a", {"b": "it's", "c": None}),
        ("a: b = hann , c = 1", "a", {"b": "hann", "c": 1}),
        ("a:b=c=d,e=", "a", {"b": "c=d", "e": ""}),
        ("tfds:mnist:x=1", "tfds", {"mnist:x": 1}),
    ],
)
def test_a_name_and_its_options(text, name, options):
    assert _options.parse_options("Owner: `item`", text) == (name, options)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", ""),
        (":a=1", ""),
        ("name:option", ""),
        ("name:=1", ""),
        ("name:a=1,,b=2", ""),
        ("name:a=1,", ""),
        ("name:a=(1,2", " The value in 'a=(1,2' does not end."),
        ("name:a='x,b=2", ' The value in "a=\'x,b=2" does not end.'),
        ("name:a=1,a=2", " The option 'a' is there twice."),
    ],
)
def test_other_text_is_refused_with_the_argument_and_the_form(text, more):
    with pytest.raises(ValueError) as raised:
        _options.parse_options("Owner: `item`", text)
    rule = f"Owner: `item` must be NAME or NAME:OPTION=VALUE,OPTION=VALUE; got {text!r}."
    assert str(raised.value) == rule + more


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match=r"Owner: `item` must be NAME .*; got 7\."):
        _options.parse_options("Owner: `item`", 7)


def test_assignments_take_the_whole_rest_as_the_value():
    items = ["units=(8,4)", "preprocess=mel:a=1,b=2", "encoder.units=3", "name=it's, there", "units=[5]", "x=1e-3"]
    assert _options.parse_assignments("Owner: `set`", items) == {
        "units": [5], "preprocess": "mel:a=1,b=2", "encoder.units": 3, "name": "it's, there", "x": 0.001,
    }  # fmt: skip
    assert _options.parse_assignments("Owner: `set`", []) == {}


@pytest.mark.parametrize("item", ["units", "=3", " =3", ""])
def test_assignments_without_name_or_value_are_refused(item):
    with pytest.raises(ValueError) as raised:
        _options.parse_assignments("Owner: `set`", [item])
    assert str(raised.value) == f"Owner: `set` must be OPTION=VALUE; got {item!r}."
