"""``python -m service``: serve the current release, as configured in the environment and .env."""

import argparse
import sys

from service.process import workers
from service.process.start import StartError
from service.settings import Settings, SettingsError


def main() -> int:
    """Serve until a signal; return the exit status."""
    argparse.ArgumentParser(prog="python -m service", description=__doc__).parse_args()
    try:
        workers.run(Settings.load())
    except (SettingsError, StartError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a command line talks to people
        return 1
    except KeyboardInterrupt:  # before there was anything to stop
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
