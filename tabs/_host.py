"""`python -m tabs._host`: the process from which each person's studio in a workshop is forked.

It imports what a page needs, once. Each line on stdin asks for a studio, as JSON: {"workspace", "socket", "person",
"hosts", "seats"}. A studio serves its page on that Unix socket, and whoever can open that has been let in already. The
end of stdin ends them all.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import uvicorn

from studio.seats import SEATS
from studio.workspace import Workspace
from tabs.app import QuietServer, make_app


def main() -> None:
    """See the module's text."""
    gc.freeze()  # what is collected is written to, and then no longer shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the door, which then lets us go
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    life, ours = os.pipe()  # the other end closes with us, however we end
    for line in sys.stdin.buffer:
        if not os.fork():
            os.close(ours)
            _be(json.loads(line), life)


def _end_with(life: int) -> None:
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _be(asked: dict[str, Any], life: int) -> None:
    """One person's studio, to its end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it waits for its own
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # only the host listens there
        threading.Thread(target=_end_with, args=(life,), daemon=True).start()
        workspace = Workspace(Path(asked["workspace"]))
        os.environ["GRADIO_TEMP_DIR"] = str(workspace.cache / "uploads")  # one folder for all would show others' files
        os.environ[SEATS] = asked["seats"]
        app = make_app(workspace, hosts=tuple(asked["hosts"]), keep_warm=False, person=asked["person"])
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(asked["socket"])
        QuietServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[listener])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
