"""`python -m sparsedense`."""

import sys

from sparsedense.cli import main

if __name__ == "__main__":
    sys.exit(main())
