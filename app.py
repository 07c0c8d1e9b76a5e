"""Entry point of a Hugging Face Space: the same page, reachable from outside its container."""

import os

from studio.workshop import Entrance, Workshop
from studio.workspace import Workspace, default_root
from tabs.app import serve


def entrance(workspace: Workspace) -> Entrance:
    """With sign-in (`hf_oauth` in README.md) a studio for each; without it, one for all who may see the Space."""
    signs_in = "OAUTH_CLIENT_ID" in os.environ
    return Entrance(workshop=Workshop(workspace).create()) if signs_in else Entrance(guarded=True)


if __name__ == "__main__":
    kept = Workspace(default_root()).create()
    serve(
        kept,
        host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),  # noqa: S104 - the Space's proxy stands in front
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        open_browser=False,
        entrance=entrance(kept),
    )
