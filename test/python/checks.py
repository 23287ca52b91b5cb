"""One line per check, and the count at the end."""

import sys


class Checks:
    """Collects results; `finish` prints `N passed, N failed` and leaves with 1 if anything failed."""

    def __init__(self, quiet=False):
        self.quiet, self.passed, self.failed = quiet, 0, 0

    def check(self, claim, holds, detail=""):
        """Record one claim; `detail` says what was found where it does not hold."""
        holds = bool(holds)
        self.passed += holds
        self.failed += not holds
        if not self.quiet:
            print(f"  {'ok  ' if holds else 'FAIL'}  {claim}{'' if holds or not detail else f': {detail}'}", flush=True)
        return holds

    def attempt(self, claim, action):
        """A claim that holds if `action` raises nothing; returns its result, or None."""
        try:
            result = action()
        except Exception as error:  # any refusal by a reader is a failed check, not a crash of the checks
            self.check(claim, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            return None
        self.check(claim, True)
        return result

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)
