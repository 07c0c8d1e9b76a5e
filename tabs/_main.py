"""The console script: a command line, and a page behind it that is only imported when it is wanted."""

from __future__ import annotations

import argparse
import sys

from studio import cli
from studio.workspace import Workspace


def main() -> None:
    sys.exit(cli.main(_serve))


def _serve(options: argparse.Namespace, workspace: Workspace) -> None:
    from tabs.app import serve

    warm = not options.no_warm_worker
    serve(workspace, host=options.host, port=options.port, open_browser=not options.no_browser, keep_warm=warm)


if __name__ == "__main__":
    main()
