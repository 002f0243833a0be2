"""What the documents say can be typed, and what they name exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from small_networks import write_small_model

from jasper.cli.app import app
from jasper.recipe import load_config, presets

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def commands():
    """Every line of a code block that calls `jasper`, its comment cut off and its continuations joined."""
    for document in DOCUMENTS:
        for block in re.findall(r"```\w*\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip().startswith("jasper "):
                    yield document.name, shlex.split(line, comments=True)[1:]


@pytest.fixture(scope="module")
def some_model(tmp_path_factory):
    """Stands for the model that a command starts from: a recipe may leave to it what it does not say."""
    return write_small_model(tmp_path_factory.mktemp("docs") / "model")


@pytest.mark.parametrize(("document", "words"), list(commands()))
def test_documents_and_code_agree(document, words, some_model):
    """The superseded system's documents named settings and commands that its code did not have."""
    check_command(document, [re.sub("^init_from=.*", f"init_from={some_model}", word) for word in words])


def check_command(document, words):
    """Parse a command as the command line would, and load the configuration of a training."""
    command = typer.main.get_command(app)
    context = typer.Context(command)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"{document}: jasper has no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(command.name, list(words), resilient_parsing=False)
    if command.name == "train":
        load_config(context.params["config"], context.params["overrides"] or [])


def test_every_preset_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in presets() if f"`{name}`" not in readme] == []


def test_files_that_the_documents_link_to_exist():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200
