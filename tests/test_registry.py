"""The table of names: wildcards, duplicates, near names."""

import pytest

from kerazoo.registry import Registry, argument_names


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


def test_unknown_name_offers_the_nearest(colours):
    with pytest.raises(ValueError, match=r"Unknown colour 'dark_rad'. Close names: dark_red.*All: colours.names\(\)"):
        colours.get("dark_rad")
    with pytest.raises(ValueError, match=r"Unknown colour 'zzz'. All: colours.names\(\)"):
        colours.get("zzz")


def test_duplicates_are_refused(colours):
    with pytest.raises(ValueError, match=r"colour 'red' is already registered: 1. Use .*replace=True"):
        colours.add("red", 5)
    assert colours.get("red") == 1
    assert colours.add("red", 5, replace=True) == 5 == colours.get("red")


@pytest.mark.parametrize("name, error", [(3, TypeError), ("", ValueError), (" red", ValueError)])
def test_names_are_words(colours, name, error):
    with pytest.raises(error, match=f"`name` of a colour must be a .*; got name={name!r}"):
        colours.add(name, 1)


def test_a_value_is_imported_when_it_is_first_needed():
    lazy = Registry("class")
    lazy.add("fraction", "fractions:Fraction")
    lazy.add("missing", "no_such_module:Name")
    lazy.add("text", "just a text: no reference")
    assert lazy.names() == ["fraction", "missing", "text"]
    from fractions import Fraction

    assert lazy.get("fraction") is Fraction is lazy.get("fraction")
    assert lazy.get("text") == "just a text: no reference"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        lazy.get("missing")


def test_decorator_adds_what_it_decorates(colours):
    @colours.register("green")
    def green(shade=2, *, light=False, **others):
        return shade

    assert colours.get("green") is green and green(7) == 7
    with pytest.raises(ValueError, match="colour 'green' is already registered"):
        colours.register("green")(green)
    assert colours.register("green", replace=True)(green) is green
    assert argument_names(green) == ("shade", "light")
    colours.check_options("green", {"light": True})
    with pytest.raises(ValueError, match="Unknown option of colour green: 'shape'. Close names: shade.* All: shade, l"):
        colours.check_options("green", ["shape"])
    with pytest.raises(ValueError, match="Unknown option of colour red: 'x'. All: none"):
        colours.check_options("red", ["x"], accepted=())


def test_names_are_listed_where_no_call_lists_them():
    table = Registry("search")
    table.add("greedy", 1)
    table.add("beam", 2)
    with pytest.raises(ValueError, match=r"Unknown search 'grady'. Close names: greedy. All: beam, greedy\."):
        table.get("grady")


@pytest.mark.parametrize(
    "text, options",
    [
        ("red", {}),
        ("red:", {}),
        ("red:rate=0.5", {"rate": 0.5}),
        ("red:mode=wrap,size=3", {"mode": "wrap", "size": 3}),
        ("red:size=(3, 5),names=['a', 'b'],on=True", {"size": (3, 5), "names": ["a", "b"], "on": True}),
        ("red:text=a=b", {"text": "a=b"}),
    ],
)
def test_options_follow_the_name(colours, text, options):
    assert colours.parse(text) == ("red", options)


@pytest.mark.parametrize(
    "text, message",
    [
        ("rad:rate=1", r"Unknown colour 'rad'. Close names: red"),
        ("red:rate", r"colour: must be NAME or NAME:OPTION=VALUE,OPTION=VALUE; got 'red:rate'"),
        ("red:=3", r"colour: must be NAME or NAME:OPTION=VALUE,OPTION=VALUE; got 'red:=3'"),
    ],
)
def test_wrong_options_are_refused(colours, text, message):
    with pytest.raises(ValueError, match=message):
        colours.parse(text)
