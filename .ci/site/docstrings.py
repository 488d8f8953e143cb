"""Reads kerazoo for the reference: names that packages load lazily, and docstrings in the dialect of Keras.

An extension of griffe, which reads the source without running it. Types and defaults stand in the text of `Args`, and
the section `Call arguments` is one that no parser of docstrings has, so the sections become headings and lists of
Markdown. `tests/test_docs.py` holds all docstrings to this dialect.
"""

import ast
import re
import textwrap

import griffe

LISTS = ("Args", "Call arguments", "Raises")
SECTION = re.compile(
    r"^(Args|Call arguments|Returns|Yields|Raises|Example|Reference):\n((?:(?: +.*)?(?:\n|\Z))*)", re.MULTILINE
)
ENTRY = re.compile(r"\*{0,2}\w+(?:, \*{0,2}\w+)*: ")


def list_of_entries(text: str) -> str:
    """Returns the entries `name: text` of a section as a list."""
    entries = []
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(text).strip("\n")):
        name, colon, rest = entry.partition(": ")
        if not colon or not ENTRY.match(entry):
            return textwrap.dedent(text).strip("\n")
        first, _, more = rest.partition("\n")
        names = ", ".join(f"`{each}`" for each in name.split(", "))
        entries.append(f"- {names}: {first}\n{textwrap.indent(textwrap.dedent(more), '    ')}".rstrip())
    return "\n".join(entries)


def markdown(docstring: str) -> str:
    """Returns a docstring with its sections as bold headings, lists and paragraphs."""

    def section(match):
        title, text = match.groups()
        body = list_of_entries(text) if title in LISTS else textwrap.dedent(text).strip("\n")
        return f"**{title}**\n\n{body}\n\n"

    return SECTION.sub(section, docstring + "\n").rstrip()


class Docstrings(griffe.Extension):
    """Gives packages the names that they load lazily, and all objects docstrings in Markdown."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        for package in [pkg, *pkg.modules.values()]:
            if "_NAMES" in package.members:
                self.add_names(package)

    def add_names(self, package: griffe.Module) -> None:
        names = ast.literal_eval(str(package.members["_NAMES"].value))
        for name, module in names.items():
            if name not in package.members:
                package.set_member(name, griffe.Alias(name, f"{package.path}.{module}.{name}"))
        package.exports = sorted({*names, *(each for each in package.exports or () if isinstance(each, str))})
