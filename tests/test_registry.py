"""The table of names: wildcards, duplicates, near names."""

import pytest

from kerazoo.registry import ModelSpec, Registry


@pytest.fixture
def colours():
    registry = Registry("colour", all_names="colours.names()")
    for name, value in {"red": 1, "dark_red": 2, "dark_blue": 3, "Red": 4}.items():
        registry.add(name, value)
    return registry


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("*", ["Red", "dark_blue", "dark_red", "red"]),
        ("dark_*", ["dark_blue", "dark_red"]),
        ("*red", ["dark_red", "red"]),
        ("[Rr]ed", ["Red", "red"]),
        ("?ed", ["Red", "red"]),
        ("green*", []),
    ],
)
def test_names_take_wildcards(colours, pattern, names):
    assert colours.names(pattern) == names


def test_reads_like_a_table(colours):
    assert colours.get("dark_red") == 2
    assert "red" in colours and "green" not in colours
    assert len(colours) == 4 and list(colours) == colours.names()
    assert colours.describe("dark_blue") == "dark_blue: 3"


def test_unknown_name_offers_the_nearest(colours):
    with pytest.raises(ValueError, match=r"Unknown colour 'dark_rad'. Close names: dark_red.*All: colours.names\(\)"):
        colours.get("dark_rad")
    with pytest.raises(ValueError, match=r"Unknown colour 'zzz'. All: colours.names\(\)"):
        colours.get("zzz")


def test_duplicates_are_refused(colours):
    with pytest.raises(ValueError, match=r"colour 'red' is already there: 1. Take another name, or pass replace=True"):
        colours.add("red", 5)
    assert colours.get("red") == 1
    assert colours.add("red", 5, replace=True) == 5 == colours.get("red")


@pytest.mark.parametrize("name, error", [(3, TypeError), ("", ValueError), (" red", ValueError)])
def test_names_are_words(colours, name, error):
    with pytest.raises(error, match=f"`name` of a colour must be a .*; got name={name!r}"):
        colours.add(name, 1)


class Mine:
    def __init__(self, units, depth=2, *rest, **kwargs):
        pass


def test_spec_tells_of_its_class():
    spec = ModelSpec(Mine, "classifier", {"units": 3}, "me", 12345)
    assert spec.load() is Mine and spec.class_name == "Mine"
    assert spec.arguments() == ("units", "depth", "name", "dtype", "trainable")
    assert str(spec) == "classifier, 12,345 parameters\n  Mine(units=3)\n  me"
    assert str(ModelSpec("a.module:Name", "seq2seq")) == "seq2seq\n  Name()"
