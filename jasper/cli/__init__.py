"""The `jasper` command: what the user can mend is one line on standard error and exit code 2."""

from __future__ import annotations

import sys

from jasper.errors import JasperError


def main() -> None:
    """Run the command line."""
    try:
        from jasper.cli.app import app

        app(prog_name="jasper")
    except JasperError as error:
        print(f"jasper: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # while this was still being loaded
        sys.exit(130)
