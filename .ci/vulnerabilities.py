"""Asks pip-audit for known vulnerabilities of the installed packages; the exit code is 1 for one that has a fix.

python .ci/vulnerabilities.py SITE_PACKAGES PIP_AUDIT     # the folder of the packages, the command pip-audit
python .ci/vulnerabilities.py --service                   # prints the service if it answers, else nothing

Without a network it does not answer; PIP_AUDIT is empty then. That is printed, and is no failure.
"""

import json
import subprocess
import sys
import urllib.request

SERVICE = "osv"  # as pip-audit calls it
ADDRESS, FIELD = "https://api.osv.dev/v1/vulns/PYSEC-2023-228", "affected"  # and what its answer has
SECONDS = 10
# Vulnerabilities that concern nothing here, or whose fix cannot be installed yet, with the reason.
ACCEPTED: dict[str, str] = {}


def answers() -> bool:
    """Returns whether the service answers."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=SECONDS) as response:
            return FIELD in json.load(response)
    except (OSError, ValueError):
        return False


def audit(folder: str, command: str) -> dict | None:
    """Returns the report of pip-audit, whose exit code is 1 where it found something; None without one."""
    line = [command, "--path", folder, "--skip-editable", "--vulnerability-service", SERVICE, "--format", "json"]
    done = subprocess.run([*line, "--progress-spinner", "off"], capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(f"pip-audit failed: {done.stderr.strip()}", file=sys.stderr)
        return None


def faults(packages: list[dict]) -> tuple[list[str], list[str]]:
    """Returns a line for each vulnerability that has a fix, and for each other one."""
    fixed, others = [], []
    for package in packages:
        for found in package.get("vulns", []):
            names = {found["id"], *found.get("aliases", [])}
            versions = ", ".join(found.get("fix_versions", []))
            line = f"{package['name']} {package['version']}: {found['id']}, " + (
                f"fixed in {versions}" if versions else "without a fix"
            )
            reason = next((ACCEPTED[name] for name in sorted(names) if name in ACCEPTED), None)
            if reason or not versions:
                others.append(f"{line}; {reason}" if reason else line)
            else:
                fixed.append(line)
    return fixed, others


def main(arguments: list[str]) -> None:
    """Prints what was found."""
    if arguments == ["--service"]:
        print(SERVICE if answers() else "")
        return
    folder, command = arguments
    report = audit(folder, command) if command else None
    if report is None and command and answers():
        sys.exit(1)  # the service answers, so it is pip-audit that fails
    packages = report["dependencies"] if report else []
    checked = [package for package in packages if "vulns" in package]
    if not checked:
        print("NOT CHECKED for known vulnerabilities: no service of them answers.")
        return
    fixed, others = faults(checked)
    print(*fixed, *others, sep="\n", end="\n" * bool(fixed + others))
    print(f"{len(checked)} of {len(packages)} packages checked by the service {SERVICE}.")
    sys.exit(bool(fixed))


if __name__ == "__main__":
    main(sys.argv[1:])
