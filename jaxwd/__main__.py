"""`python -m jaxwd` is the `jaxwd` command."""

from jaxwd.cli import main
from jaxwd.signals import ignore_from_now_on


def process() -> int:
    """Be the command's process: what is asked of it when all is done comes too late."""
    try:
        return main()
    finally:
        ignore_from_now_on()


if __name__ == "__main__":
    raise SystemExit(process())
