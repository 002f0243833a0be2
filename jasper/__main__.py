"""`python -m jasper`: the command line, for launchers that start a module."""

from jasper.cli import main

if __name__ == "__main__":
    main()
