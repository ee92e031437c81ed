"""`aectl`, and `python -m aectl`: so little that Ctrl-C finds nothing to interrupt but this."""

import sys


def main() -> None:
    """Run `aectl.cli.main.main` on streams that may be closed."""
    try:
        from aectl.cli import streams

        streams.settle()
        from aectl.cli.main import main as run

        try:
            run()
        finally:
            from aectl import signals

            signals.leave_alone()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
