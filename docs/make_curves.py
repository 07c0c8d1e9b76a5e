"""Writes docs/curves.md from the charts of the Curves tab, which say what they show themselves.

python docs/make_curves.py
"""

from __future__ import annotations

from pathlib import Path

from tabs._charts import CHARTS

TARGET = Path(__file__).parent / "curves.md"


def text() -> str:
    """The whole page."""
    lines = [
        "# Curves: what each one says",
        "",
        "Made by `python docs/make_curves.py` from the charts themselves; a test keeps it true. A chart is drawn where",
        "a run has its curves. A metric that no chart is made for gets one of its own, under its name.",
        "",
        "| chart | unit | what it says |",
        "|---|---|---|",
        *(f"| {chart.title} | {chart.unit} | {chart.about} |" for chart in CHARTS),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
