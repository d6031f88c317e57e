"""Forks a warm interpreter, lets the child exit at once, waits; again and again.

The physical limit of a process per request: nothing that forks per request can
be faster than this loop. Prints how many went through per second.
"""

import os
import sys
import time


def main() -> None:
    seconds = float(sys.argv[1])
    count = 0
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        count += 1
    print(count / (time.monotonic() - started))


main()
