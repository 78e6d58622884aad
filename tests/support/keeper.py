"""`python -m tests.support.keeper PID FOLDER COMMAND…`: run a command while process PID lives, then remove FOLDER.

For what the workers of one pytest run share (a PostgreSQL cluster): none of them may own it, because any of them may
end first; the process that started them all is the owner.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time


def main() -> None:
    owner, folder, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # SIGINT of a terminal reaches the whole group; the owner's end is the only signal that counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command)
    while child.poll() is None and alive(owner):
        time.sleep(0.2)
    child.send_signal(signal.SIGQUIT)
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
    shutil.rmtree(folder, ignore_errors=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main()
