"""The command `orderspine` from its first instant: Ctrl-C is heard also while what all verbs need is being loaded."""

import sys


def main() -> None:
    """Run the command line that this process was started with, and exit."""
    try:
        from runners.cli import main as begin  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.stderr.write("orderspine: interrupted\n")
        sys.exit(130)
    begin()


if __name__ == "__main__":
    main()
