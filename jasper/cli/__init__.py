"""The `jasper` command: what the user can mend is one line on standard error and exit code 2."""

from __future__ import annotations

import os
import sys
from errno import EDQUOT, EFBIG, ENOSPC
from io import TextIOWrapper

from jasper.errors import JasperError

_FULL = (ENOSPC, EDQUOT, EFBIG)  # a disk, a quota, the longest file


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are no UTF-8
    try:
        from jasper.cli.app import app

        app(prog_name="jasper")
    except JasperError as error:
        print(f"jasper: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        print(f"jasper: {error.strerror}: {error.filename or 'standard output'}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more, and says so
        sys.exit(2)
    except KeyboardInterrupt:  # while this was still being loaded
        sys.exit(130)
