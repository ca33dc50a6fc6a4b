"""Every command in README.md and docs/*.md runs, with the files and flags it is shown with.

Each runs in a process of its own, which has imported what that command imports and nothing else: tests within
one process cannot find what is missing there. `documented_commands.py` reads the pages;
`documented_stand_ins.py` has the small sizes, and the commands that cannot run here, each with its reason.
Commands of a page run in its order.
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import documented_stand_ins as stand_ins
import gin
import pytest
from documented_commands import OTHERS, PAGES, PROGRAMS, ROOT, SHELLS, Command, commands, program, read, split

from inters_jax import compare, config, plan, sweep
from inters_jax.command_line import parse_arguments
from inters_jax.gin_files import search_paths
from inters_jax.settings.commands import COMMANDS, readers

EVERY = [command for page in PAGES for command in commands(page)]
RUN = [command for command in EVERY if not stand_ins.reason(command)]
SHOWN_SETTINGS = [command for command in RUN if command.verb and not command.bare]
TRAINED_BY_SCRIPTS = [
    command for command in RUN if command.words[0].startswith("scripts/") and "--" in command.words
]


def own_arguments(command: Command) -> list[str]:
    """The arguments that `run_command` gets from the command."""
    if command.verb == "plan":
        return plan.arguments(command.arguments)
    if command.verb == "compare":
        return compare.plain_arguments(command.arguments)
    if command.verb == "sweep":
        return sweep.divided(command.arguments)[0]
    return command.arguments


def load(verb: str, arguments: list[str]) -> None:
    gin.clear_config()
    line = parse_arguments(arguments)
    if not line.help:
        config.load(verb, line.files, line.overrides, [*search_paths(line.search_paths), ROOT / "gin"])


@pytest.mark.parametrize("command", [c for c in SHOWN_SETTINGS if "--verify" not in c.words], ids=str)
def test_settings_of_a_shown_command_are_read_by_it(command: Command) -> None:
    load(command.verb, own_arguments(command))


@pytest.mark.parametrize("command", TRAINED_BY_SCRIPTS, ids=str)
def test_training_arguments_of_a_shown_script_are_read(command: Command) -> None:
    load("train", command.words[command.words.index("--") + 1 :])


def test_every_command_is_run_or_listed_and_every_entry_of_the_lists_is_needed() -> None:
    for command in RUN:
        assert PROGRAMS.match(f"{command.text} "), f"{command}\nneither runs nor has a reason in NOT_RUN"
    texts = [command.text for command in EVERY]
    for pattern in (*stand_ins.NOT_RUN, *stand_ins.SMALL):
        assert any(re.search(pattern, text) for text in texts), f"no page shows {pattern!r}"
    first_lines = [block.text.splitlines()[0] for page in PAGES for block in program(page)]
    assert set(stand_ins.PROGRAMS_NOT_RUN) <= set(first_lines)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_name_their_language_and_a_shell_can_read_them(page: str) -> None:
    blocks, _ = split(read(page))
    assert {block.language for block in blocks} <= {*SHELLS, *OTHERS, "python"}
    text = "\n".join(block.text for block in blocks if block.language in SHELLS)
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_setting_named_in_the_documentation_exists() -> None:
    objects = {
        name
        for groups in COMMANDS.values()
        for group in groups
        for one in config.settings_of(group)
        for name in one.meaning.objects
    }
    unknown = [
        f"{page}: {name}"
        for page in PAGES
        for name in re.findall(r"--gin\.(\w+)", read(page))
        if not readers(name) and name not in {*objects, *COMMANDS, "NAME"}
    ]
    assert not unknown, unknown


@pytest.mark.parametrize("page", PAGES)
def test_every_file_link_and_test_named_on_a_page_exists(page: str) -> None:
    text = read(page)
    folders = "inters_jax|seqio_tasks|scripts|tests|docs|gin"
    named = set(re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]*\w", text))
    named |= {
        os.path.relpath((ROOT / page).parent / link, ROOT)
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    }
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert not missing, f"{page} names files that do not exist: {missing}"
    for file, test in re.findall(r"`(?:[\w/]+/)?(test_\w+\.py)::(test_\w+)", text):
        (path,) = ROOT.glob(f"tests/**/{file}")
        assert f"def {test}(" in path.read_text(encoding="utf-8"), f"{page}: {file} has no {test}"


def run_page(page: str, workshop: stand_ins.Workshop) -> list[str]:
    """Run the commands and the program of a page; returns what failed."""
    place = stand_ins.Page(workshop, page)
    failures: list[str] = []
    count = 0
    for command in (command for command in RUN if command.page == page):
        if command.reads_no_folder and any(c.text == command.text for c in RUN[: RUN.index(command)]):
            continue  # run for an earlier page
        try:
            place.run(command)
            count += 1
        except Exception as error:  # whatever it is, the other commands run
            failures.append(f"{command}\n{type(error).__name__}: {error}")
    try:
        count += place.run_program()
    except AssertionError as error:
        failures.append(f"{page}: its Python\n{error}")
    print(f"{page}: {count} commands and programs ran, {len(failures)} failed")
    return failures


@pytest.fixture(scope="module")
def failures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Page -> what failed, of the selected pages; one page runs on every processor of this test process."""
    items = [item for item in request.session.items if "failures" in getattr(item, "fixturenames", ())]
    pages = [item.callspec.params["page"] for item in items]
    workshop = stand_ins.Workshop(tmp_path_factory.mktemp("documentation"))
    workshop.train()
    threads = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(pages, pool.map(lambda page: run_page(page, workshop), pages), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_commands_run_in_processes_of_their_own(page: str, failures: dict[str, list[str]]) -> None:
    assert not failures[page], "\n\n".join(failures[page])


if __name__ == "__main__":
    listed = [command for command in EVERY if stand_ins.reason(command)]
    print(f"{len(RUN)} commands run, {len(listed)} do not")
    for command in listed:
        print(f"  {stand_ins.reason(command)}: {command}")
