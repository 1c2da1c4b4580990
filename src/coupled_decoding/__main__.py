"""The command ``scd``, also as ``python -m coupled_decoding``."""

from __future__ import annotations

from coupled_decoding.apps.errors import leave_at_signals


def main() -> None:
    """Run the command line; a signal ends it in one sentence, from before the first import that takes long."""
    leave_at_signals()
    from coupled_decoding.apps.cli import run

    run()


if __name__ == "__main__":
    main()
