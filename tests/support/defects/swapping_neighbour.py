"""A program that swaps pairs of paths as fast as it can: `python swapping_neighbour.py PATH OTHER [PATH OTHER ...]`.

Each swap is one RENAME_EXCHANGE, so both paths exist at every moment: a folder and a link, a file and a named pipe.
"""

import ctypes
import os
import sys

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # <linux/fs.h>

libc = ctypes.CDLL(None, use_errno=True)
pairs = [tuple(map(os.fsencode, sys.argv[at : at + 2])) for at in range(1, len(sys.argv), 2)]
print("swapping", flush=True)
while True:
    for path, other in pairs:
        # A pair of which a part was deleted is left alone until it is made again.
        libc.renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE)
