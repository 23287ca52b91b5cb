"""Packages that the scripts need: one that is missing is one line, and no traceback."""

import sys


def missing(script, error):
    """End the script that could not import something; exit code 3."""
    name = error.name or "a package"
    print(
        f"{script}: {name} cannot be imported ({error}), expected the packages of test/python/requirements.txt and requirements-reference.txt",
        file=sys.stderr,
    )
    sys.exit(3)
