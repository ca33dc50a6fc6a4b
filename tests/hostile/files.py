"""Hostile gin files, command lines, lists of experiments, template files, and plain commands."""

from __future__ import annotations

import sys
from typing import Any

from hostile.cases import Case, Place

from seqio_tasks.download import command as download_command
from seqio_tasks.mixtures import __main__ as mixtures_command
from seqio_tasks.templates import __main__ as templates_command


def _gin(text: bytes | str, *words: str) -> Any:
    """`evaluate` with a gin file."""
    return lambda place: place.command(
        "evaluate", f"--gin_file={place.write('own.gin', text)}", *words, COMPARE_WITH="no.json"
    )


def _failing_import(place: Place) -> Any:
    place.write("failing_module.py", "raise RuntimeError('no')\n")
    sys.path.insert(0, str(place.folder))
    try:
        return _gin("import failing_module\n")(place)
    finally:
        sys.path.remove(str(place.folder))


def _word(*words: str) -> Any:
    return lambda place: place.command("evaluate", *words)


def _sweep(text: bytes | str) -> Any:
    return lambda place: place.command(
        "sweep", EXPERIMENTS=place.write("list.yaml", text), SWEEP_DIR=place.folder / "s", DRY_RUN=True
    )


def _templates(text: bytes | str, name: str = "own.yaml") -> Any:
    """`python -m seqio_tasks.templates --check` of a file of one's own."""

    def act(place: Place) -> Any:
        raise SystemExit(templates_command.main(["--check", str(place.write(name, text))]))

    return act


def _mixture(*words: str) -> Any:
    def act(place: Place) -> Any:
        raise SystemExit(mixtures_command.main([*words]))

    return act


def _download(*words: str) -> Any:
    def act(place: Place) -> Any:
        raise SystemExit(download_command.main([*words, "--raw_dir", str(place.folder)]))

    return act


GIN = [
    ("is sound", _gin(""), r"evaluate: MODEL_DIR has no value"),
    (
        "is missing",
        lambda place: place.command("evaluate", "--gin_file=no.gin"),
        r"gin file 'no\.gin' not found",
    ),
    ("is a folder", lambda place: place.command("evaluate", f"--gin_file={place.folder}"), r"not found"),
    ("is not UTF-8", _gin(b"BEAMS = '\xff'"), r"own\.gin: cannot be read"),
    ("is UTF-16", _gin("BEAMS = 1\n".encode("utf-16")), r"own\.gin: cannot be read"),
    ("has a null byte", _gin("BEAMS = 1\0\n"), r"own\.gin"),
    ("has an open bracket", _gin("BEAMS = 1\nTASKS = ['a'\n"), r"own\.gin"),
    ("has an open quote", _gin("SPLIT = 'a\n"), r"own\.gin:1"),
    ("has no value", _gin("\nBEAMS =\n"), r"own\.gin:2"),
    ("has a bare word", _gin("\nSPLIT = test\n"), r"own\.gin:2"),
    ("has a call", _gin("BEAMS = open('/etc/passwd')\n"), r"own\.gin:1"),
    (
        "has an unknown name",
        _gin("BEEMS = 3\n"),
        r"own\.gin:1: BEEMS is set but nothing uses it; did you mean BEAMS",
    ),
    ("has an unknown field", _gin("evaluate.beems = 3\n"), r"own\.gin:1: evaluate has no setting 'beems'"),
    (
        "has a value of the wrong type",
        _gin("MODEL_DIR = 'x'\n\nBEAMS = 'a'\n"),
        r"own\.gin:3: BEAMS='a' must be",
    ),
    (
        "has an unknown macro",
        _gin("MODEL_DIR = 'x'\nBEAMS = %NOPE\n"),
        r"own\.gin:2: %NOPE is used but never set",
    ),
    ("has a macro of itself", _gin("MODEL_DIR = 'x'\nBEAMS = %BEAMS\n"), r"own\.gin:2|BEAMS"),
    ("has macros in a circle", _gin("MODEL_DIR = 'x'\nBEAMS = %A\nA = %B\nB = %A\n"), r"own\.gin|A"),
    (
        "has an unknown object",
        _gin("MODEL_DIR = 'x'\nBEAMS = @nosuch()\n"),
        r"own\.gin:2: @nosuch is not known",
    ),
    ("imports what is not there", _gin("import no_such_module\n"), r"own\.gin:1: import no_such_module"),
    ("imports what fails", lambda place: _failing_import(place), r"own\.gin:1: import failing_module"),
    ("includes itself", _gin("include 'own.gin'\n", "--gin_search_paths=."), r"own\.gin"),
    ("includes what is not there", _gin("include 'no.gin'\n"), r"own\.gin:1: gin file 'no\.gin' not found"),
    (
        "is nested too deeply",
        _gin("TASKS = " + "[" * 3000 + "]" * 3000 + "\n"),
        r"own\.gin: a value is nested too deeply",
    ),
    ("has a huge number", _gin("BEAMS = " + "9" * 5000 + "\n"), r"own\.gin:1"),
    ("has a power", _gin("BEAMS = 9**9**9**9\n"), r"own\.gin:1"),
]
WORDS = [
    ("an unknown flag", _word("--beams=3"), r"unknown argument '--beams=3'"),
    ("a plain word", _word("model"), r"unknown argument 'model'"),
    ("a setting without value", _word("--gin.BEAMS"), r"--gin\.BEAMS has no value"),
    ("a file flag without value", _word("--gin_file"), r"--gin_file needs a value"),
    ("a setting without name", _word("--gin.=3"), r"--gin\.=3"),
    ("a setting of two statements", _word("--gin.MODEL_DIR=x", "--gin.BEAMS=1\nTOP_K=2"), r"BEAMS"),
    ("a setting with a reference", _word("--gin.MODEL_DIR=@nosuch()"), r"@nosuch is not known"),
    ("a setting nested too deeply", _word("--gin.BEAMS=" + "[" * 5000), r"BEAMS|MODEL_DIR"),
    ("a setting with a null byte", _word("--gin.MODEL_DIR=x", "--gin.BEAMS=\0"), r"BEAMS|null"),
    (
        "an object of the wrong field",
        lambda p: p.command("train", "--gin.AdamW.b9=3", "--gin.MODEL_DIR=x", "--gin.MODEL=y"),
        r"AdamW.* has no field 'b9'",
    ),
    (
        "an object with a text as number",
        lambda p: p.command(
            "train", "--gin.AdamW.b2='x'", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"
        ),
        r"b2",
    ),
    (
        "an object out of bounds",
        lambda p: p.command(
            "train", "--gin.AdamW.b2=7", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"
        ),
        r"b2",
    ),
    (
        "a shape of text",
        lambda p: p.command(
            "train",
            "--gin.MODEL=@DecoderConfig()",
            "--gin.DecoderConfig.hidden_size='x'",
            f"--gin.MODEL_DIR={p.folder / 'r'}",
        ),
        r"hidden_size is 'x', expected a whole number",
    ),
    (
        "a shape of ten million layers",
        lambda p: p.command(
            "train",
            "--gin.MODEL=@DecoderConfig()",
            "--gin.DecoderConfig.num_layers=10000000",
            f"--gin.MODEL_DIR={p.folder / 'r'}",
        ),
        r"num_layers is 10000000",
    ),
    (
        "a shape without heads",
        lambda p: p.command("plan", "--gin.MODEL=@DecoderConfig()", "--gin.DecoderConfig.num_heads=0"),
        r"num_heads must be positive",
    ),
    (
        "a shape of an unknown family",
        lambda p: p.command("plan", "--gin.MODEL=@DecoderConfig()", "--gin.DecoderConfig.family='x'"),
        r"family 'x' is not supported",
    ),
    (
        "a rank of 0",
        lambda p: p.command(
            "train",
            "--gin.LORA=@LoRA()",
            "--gin.LoRA.rank=0",
            f"--gin.MODEL_DIR={p.folder / 'r'}",
            f"--gin.MODEL={p.model}",
        ),
        r"rank",
    ),
    (
        "a rank of text",
        lambda p: p.command(
            "train",
            "--gin.LORA=@LoRA()",
            "--gin.LoRA.rank='x'",
            f"--gin.MODEL_DIR={p.folder / 'r'}",
            f"--gin.MODEL={p.model}",
        ),
        r"rank",
    ),
    (
        "adapters of an unknown module",
        lambda p: p.command(
            "train",
            "--gin.LORA=@LoRA()",
            "--gin.LoRA.targets=('x',)",
            f"--gin.MODEL_DIR={p.folder / 'r'}",
            f"--gin.MODEL={p.model}",
        ),
        r"targets|x",
    ),
]
SWEEPS = [
    ("is empty", _sweep(""), r"list\.yaml: a list of experiments"),
    ("is not valid YAML", _sweep("a: [1\nb: {"), r"list\.yaml:\d+: not valid YAML"),
    ("is not UTF-8", _sweep(b"a: \xff"), r"list\.yaml: not UTF-8"),
    ("has a control character", _sweep("a: \x01"), r"list\.yaml.*not valid YAML"),
    ("is a list", _sweep("- a\n"), r"list\.yaml: a list of experiments"),
    ("has experiments as text", _sweep("experiments: a\n"), r"list\.yaml: "),
    (
        "has an experiment without name",
        _sweep("experiments: [{}]\n"),
        r"list\.yaml: experiment 1: it has no name",
    ),
    (
        "has an unknown key",
        _sweep("experiments: [{name: a, stps: []}]\n"),
        r"list\.yaml: experiment 1: unknown key 'stps'",
    ),
    (
        "has an unknown step",
        _sweep("experiments: [{name: a, steps: [fly]}]\n"),
        r"experiment 1 \(a\): no step 'fly'",
    ),
    (
        "has seeds of text",
        _sweep("seeds: [a]\nexperiments: [{name: a}]\n"),
        r"list\.yaml: seeds are whole numbers",
    ),
    ("has a number as seeds", _sweep("seeds: 3\nexperiments: [{name: a}]\n"), r"list\.yaml: .*seeds"),
    ("has a name that leaves the folder", _sweep("experiments: [{name: '..'}]\n"), r"list\.yaml: .*'\.\.'"),
    (
        "has a series of lists",
        _sweep("experiments: [{name: a, series: {x: [1]}}]\n"),
        r"experiment 1 \(a\): the values of series",
    ),
    (
        "has a tag of Python",
        _sweep("experiments: !!python/object/apply:os.system [ls]\n"),
        r"list\.yaml.*not valid YAML",
    ),
    (
        "has an alias bomb",
        _sweep("a: &a [x, x]\nb: &b [*a, *a]\nexperiments: [{name: *b}]\n"),
        r"list\.yaml: ",
    ),
]
PLAIN = [
    ("templates are not valid YAML", _templates("task: [a\nb: {"), r"own\.yaml:\d+: not valid YAML"),
    ("templates are not UTF-8", _templates(b"task: \xff"), r"own\.yaml: not UTF-8"),
    ("templates are a list", _templates("[1]"), r"own\.yaml: the top level must"),
    ("templates have datasets as text", _templates("task: a\ndatasets: b\n"), r"own\.yaml: "),
    ("templates have an unknown task", _templates("task: a\ndatasets: {b: []}\n"), r"own\.yaml: b"),
    ("templates have a list as task", _templates("task: [a]\ndatasets: {b: []}\n"), r"own\.yaml"),
    ("templates are broken Python", _templates("PATTERNS = {", "own.py"), r"own\.py:1: not valid Python"),
    ("templates are Python with a null byte", _templates("a = 1\0", "own.py"), r"own\.py.*not valid Python"),
    ("templates are Python in Latin-1", _templates(b"a = '\xff'", "own.py"), r"own\.py: not UTF-8"),
    ("templates are nested too deeply", _templates("a = " + "[" * 500 + "]" * 500, "own.py"), r"own\.py"),
    ("templates are of no known kind", _templates("x", "own.txt"), r"own\.txt: a template file ends in"),
    ("a mixture is unknown", _mixture("interz"), r"no mixture is named interz; did you mean inters"),
    ("a mixture has an unknown split", _mixture("inters", "--split", "tset"), r"tset"),
    ("a download is unknown", _download("nosuch"), r"nosuch"),
    ("a download has a number of attempts as text", _download("xsum", "--attempts", "x"), r"attempts"),
]

CASES = [
    *(Case(f"gin file {name}", act, error) for name, act, error in GIN),
    *(Case(f"command line has {name}", act, error) for name, act, error in WORDS),
    *(Case(f"list of experiments {name}", act, error) for name, act, error in SWEEPS),
    *(Case(name, act, error) for name, act, error in PLAIN),
]
