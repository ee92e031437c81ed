"""`python -m aectl` is `aectl`."""

from aectl.cli import main

if __name__ == "__main__":
    main()
