"""Compares the files of a wheel with those of the checkout; prints what is missing or too much, with the exit code 1.

python .ci/check_wheel.py WHEEL
"""

import pathlib
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("kerazoo", "experiments")


def expected() -> set[str]:
    """Returns the files of both packages: everything in their folders but what Python compiles."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def faults(wheel: str) -> list[str]:
    """Returns a line for each file that is missing or too much, and for a missing entry point."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        about = {name for name in names if ".dist-info/" in name}
        entries = "".join(archive.read(name).decode() for name in about if name.endswith("/entry_points.txt"))
    lines = [f"{name}: missing in the wheel" for name in sorted(expected() - names)]
    lines += [f"{name}: in the wheel, and no file of a package" for name in sorted(names - about - expected())]
    if "kerazoo = experiments.__main__:main" not in entries:
        lines.append("the command kerazoo: missing in the wheel")
    if not any(name.endswith("/LICENSE") for name in about):
        lines.append("LICENSE: missing in the wheel")
    return lines


if __name__ == "__main__":
    found = faults(sys.argv[1])
    print(*(found or [f"{pathlib.Path(sys.argv[1]).name}: has what it must have"]), sep="\n")
    sys.exit(bool(found))
