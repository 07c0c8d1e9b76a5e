"""What can be written on the command line; `studio.cli` does it."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio import __version__
from studio.exports import exports
from studio.settings import facts
from studio.workshop import Limits
from studio.workspace import default_root


def parser() -> argparse.ArgumentParser:
    """Its `command` is None where the page is asked for."""
    parser = argparse.ArgumentParser(
        prog="finetune-studio",
        description="Fine-tune language models in the browser. Without a command: open the page.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument(
        "--no-warm-worker",
        action="store_true",
        help="spare the 0.4 GB of a process that waits for the next run; it then starts some seconds later",
    )
    parser.add_argument(
        "--auth", metavar="NAME", help="let in only who knows this name and a word that is asked for now"
    )
    parser.add_argument("--workshop", action="store_true", help="a studio of its own for each of many people")
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=VALUE", help=f"of a workshop's people: {_limits()}"
    )
    _workspace_option(parser, default_root())
    known = (
        "{train,rehearse,prompts,worth,bench,evaluate,card,export,import,publish,check,doctor,recipes,reset-workshop}"
    )
    commands = parser.add_subparsers(dest="command", metavar=known)
    run = commands.add_parser("train", help="run a YAML config and print the run's folder last")
    run.add_argument("config", type=Path, metavar="CONFIG.yaml")
    run.add_argument("--resume", action="store_true", help="go on with its newest run that has not come to its end")
    run.add_argument("--cloud", metavar="MACHINE", help="train on this machine of Hugging Face Jobs, such as t4-small")
    run.add_argument("--hours", type=float, default=1, help="end it in the cloud after so many (default: 1)")
    run.add_argument("--most", type=float, metavar="USD", help="end it where it would cost more, by an estimate")
    trial = commands.add_parser("rehearse", help="say what a run will take, from a few steps of it; keep nothing")
    trial.add_argument("config", type=Path, metavar="CONFIG.yaml")
    trial.add_argument("--use-machine", action="store_true", help="find the batch that suits this machine instead")
    trial.add_argument("--larger", action="store_true", help="with it: an update may see another number of rows")
    search = commands.add_parser("prompts", help="look for a better prompt as a YAML config says")
    search.add_argument("config", type=Path, metavar="CONFIG.yaml")
    search.add_argument(
        "--resume", action="store_true", help="go on with its newest search that has not come to its end"
    )
    judged = commands.add_parser("worth", help="say whether a run was worth it, beside what prompts do without it")
    judged.add_argument("run", metavar="RUN", help="a run's folder or its name")
    judged.add_argument("--again", action="store_true", help="measure anew what was measured before")
    speed = commands.add_parser("bench", help="measure how fast, how good and at what memory models answer")
    speed.add_argument("config", type=Path, metavar="CONFIG.yaml")
    speed.add_argument("--resume", action="store_true", help="go on with its newest one that has not come to its end")
    speed.add_argument("--against", default="", metavar="BENCHMARK", help="an earlier one, shown beside it")
    asked = commands.add_parser("evaluate", help="hold models against one another on rows that none was trained on")
    asked.add_argument("what", metavar="CONFIG.yaml|RUN", help="a YAML config, or a run: it and what it began with")
    asked.add_argument("--resume", action="store_true", help="go on with its newest evaluation that was left")
    about = commands.add_parser("card", help="say what a model is made of and what it costs")
    about.add_argument("what", metavar="MODEL|RUN", help="as a config names it, or a run's folder or its name")
    about.add_argument("--measure", action="store_true", help="its forward pass, too; nothing may train meanwhile")
    leaving = commands.add_parser("export", help="make what a run learnt into one file for others")
    leaving.add_argument("run", metavar="RUN", help="a run's folder or its name")
    leaving.add_argument("form", metavar="FORM", help=f"one of: {', '.join(exports())}")
    leaving.add_argument("--to", type=Path, metavar="FILE", help="move it there (default: it stays in the workspace)")
    leaving.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of that form")
    taken = commands.add_parser("import", help="make a run of an adapter from elsewhere, or a model to choose")
    taken.add_argument("what", metavar="PATH|NAME", help="a folder, a .zip, or the name of an adapter on the Hub")
    taken.add_argument("--base", default="", metavar="MODEL", help="what the adapter sits on, if it does not say so")
    sent = commands.add_parser("publish", help="push what a run learnt to the Hugging Face Hub, private unless told")
    sent.add_argument("run", metavar="RUN", help="a run's folder or its name")
    sent.add_argument("repo", metavar="REPO", help="owner/name, or a name alone for your own account")
    sent.add_argument("--form", default="adapter", metavar="FORM", help="adapter, merged or gguf (default: adapter)")
    sent.add_argument("--public", action="store_true", help="let everybody see it")
    sent.add_argument("--update", action="store_true", help="add to the repository where it is there already")
    sent.add_argument("--yes", action="store_true", help="do not ask before the files that are shown are sent")
    data = commands.add_parser("check", help="say how a data set reads and what is wrong with it")
    data.add_argument("file", metavar="FILE", help="a file, a folder of source code, or a data set's name")
    health = commands.add_parser("doctor", help="say what this machine can do")
    ready = commands.add_parser("recipes", help="list ready configs for usual tasks, or print one")
    ready.add_argument("recipe", nargs="?", metavar="NAME", help="printed as a config for 'train'")
    anew = commands.add_parser("reset-workshop", help="let a workshop begin anew: everybody's work is moved aside")
    for command in (trial, judged, speed, asked, about, leaving, taken, data):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    for command in (run, trial, search, judged, speed, asked, about, leaving, taken, sent, data, health, anew):
        _workspace_option(command, argparse.SUPPRESS)
    return parser


def _limits() -> str:
    told = (f"{each.name} ({each.default:g})" for each in facts(Limits))
    return ", ".join(told)


def _workspace_option(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--workspace",
        type=Path,
        default=default,
        metavar="FOLDER",
        help=f"where runs, models and data sets are kept (default: {default_root()})",
    )
