"""``python -m seqio_tasks.download``: see `seqio_tasks.download.command`."""

import sys

from seqio_tasks.download.command import main

if __name__ == "__main__":
    sys.exit(main())
