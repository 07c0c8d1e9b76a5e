"""The engine of Finetune Studio. Knows nothing of Gradio."""

__version__ = "0.1.0"
