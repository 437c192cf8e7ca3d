"""``python -m service``: serve the current release, as configured in the environment and .env.

Example: WORKERS=2 python -m service
"""

import argparse
import sys

from service.serve import run

if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    sys.exit(run())
