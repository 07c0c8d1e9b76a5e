"""Entry point of a Hugging Face Space: the same page, reachable from outside its container."""

import os

from studio.workshop import Entrance
from studio.workspace import Workspace, default_root
from tabs.app import serve

if __name__ == "__main__":
    serve(
        Workspace(default_root()).create(),
        host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),  # noqa: S104 - the Space's proxy stands in front
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        open_browser=False,
        entrance=Entrance(guarded=True),  # who may see the Space is said in its settings
    )
