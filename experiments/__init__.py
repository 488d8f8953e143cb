"""Commands over the public names of kerazoo; `python -m experiments.run --help` shows the first one."""
