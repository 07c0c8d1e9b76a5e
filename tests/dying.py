"""A rehearsal's process as the parent knows it, which Linux kills over four rows or over a whole run.

Over three rows it thinks for ever.
"""

import os
import signal
import time

from studio.child import serve

if __name__ == "__main__":

    def answer(request, reply, stop):  # type: ignore[no-untyped-def]
        rows = request.get("rows")
        reply(doing="Trying", done=0, total=0)
        if rows is None or rows >= 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if rows == 3:
            time.sleep(3600)
        if rows:
            reply(trial={"rows": rows, "tokens": 10 * rows, "memory": 1_000_000, "seconds": 1.0})
        else:
            reply(tokens=[10 * (number + 1) for number in range(32)])

    serve(answer)
