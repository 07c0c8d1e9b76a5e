"""The console script: a command line, and a page behind it that is only imported when it is wanted."""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from studio import cli
from studio.errors import ConfigError
from studio.workshop import SHORTEST, Entrance, Workshop, new_word
from studio.workspace import Workspace

WORD = "FINETUNE_STUDIO_WORD"  # environment variable: what whoever comes in by --auth, or presents, has to know


def main() -> None:
    sys.exit(cli.main(_serve))


def _serve(options: argparse.Namespace, workspace: Workspace) -> None:
    entrance = _entrance(options, workspace)  # before the page is imported, which takes seconds
    from tabs.app import serve

    serve(
        workspace,
        host=options.host,
        port=options.port,
        open_browser=not options.no_browser,
        keep_warm=not options.no_warm_worker,
        entrance=entrance,
    )


def _entrance(options: argparse.Namespace, workspace: Workspace) -> Entrance:
    """Raises ConfigError where it makes no sense."""
    given = os.environ.pop(WORD, "")  # no child of ours is to know it
    if options.workshop:
        if not hasattr(os, "fork"):
            raise ConfigError("A workshop needs Linux or macOS.", remedy="On Windows hold it inside of WSL.")
        limits = dict(each.partition("=")[::2] for each in options.limit)
        return Entrance(workshop=Workshop(workspace).create(limits), word=given or new_word())
    if options.limit:
        raise ConfigError("--limit belongs to --workshop.", remedy="Add --workshop, or leave it out.")
    if not options.auth:
        return Entrance()
    word = given or getpass.getpass(f"The word for {options.auth}: ")
    if len(word) < SHORTEST:
        raise ConfigError(f"That word has fewer than {SHORTEST} letters.", remedy="Take a longer one.")
    return Entrance(name=options.auth, word=word)


if __name__ == "__main__":
    main()
