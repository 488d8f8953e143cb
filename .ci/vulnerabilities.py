"""Asks pip-audit for known vulnerabilities of the installed packages; the exit code is 1 for one that has a fix.

python .ci/vulnerabilities.py SITE_PACKAGES PIP_AUDIT     # the folder of the packages, the command pip-audit
python .ci/vulnerabilities.py --service                   # prints the service that answers; nothing if none does

Without a network no service answers. That is printed, and is no failure.
"""

import json
import subprocess
import sys
import urllib.request

# What pip-audit calls a service, an address of it, and what its answer has.
SERVICES = {"osv": ("https://api.osv.dev/v1/vulns/PYSEC-2023-228", "affected")}
SECONDS = 10
# Vulnerabilities that concern nothing here, or whose fix cannot be installed yet, with the reason.
ACCEPTED: dict[str, str] = {}


def service() -> str | None:
    """Returns the first service that answers."""
    for name, (address, field) in SERVICES.items():
        try:
            with urllib.request.urlopen(address, timeout=SECONDS) as response:
                if field in json.load(response):
                    return name
        except (OSError, ValueError):
            continue
    return None


def audit(folder: str, command: str, name: str) -> dict | None:
    """Returns the report of pip-audit, whose exit code is 1 where it found something; None without one."""
    line = [command, "--path", folder, "--skip-editable", "--vulnerability-service", name, "--format", "json"]
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
    name = service()
    if arguments == ["--service"]:
        print(name or "")
        return
    folder, command = arguments
    report = audit(folder, command, name) if name and command else None
    if report is None and command and service():
        sys.exit(1)  # the service answers, so it is pip-audit that fails
    packages = report["dependencies"] if report else []
    checked = [package for package in packages if "vulns" in package]
    if not checked:
        print("NOT CHECKED for known vulnerabilities: no service of them answers.")
        return
    fixed, others = faults(checked)
    print(*fixed, *others, sep="\n", end="\n" * bool(fixed + others))
    print(f"{len(checked)} of {len(packages)} packages checked by the service {name}.")
    sys.exit(bool(fixed))


if __name__ == "__main__":
    main(sys.argv[1:])
