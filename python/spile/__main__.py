"""`python -m spile` is the `spile` command."""

from spile.cli import main

if __name__ == "__main__":
    main()
