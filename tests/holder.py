"""A child that holds memory, as one with a model would, and is as slow about an answer as it is asked to be."""

import time

from studio.child import serve

SIZE = 150_000_000
held: list[bytes] = []


if __name__ == "__main__":

    def answer(request, reply, stop):  # type: ignore[no-untyped-def]
        held[:] = [b"x" * SIZE]
        reply(held=SIZE)
        while request.get("slow") and not stop():
            time.sleep(0.05)

    serve(answer)
