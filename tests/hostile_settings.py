"""Hostile settings: values out of bounds, gin files, lists of experiments, templates, and plain commands."""

from __future__ import annotations

from typing import Any

from hostile_cases import Case, Place

from seqio_tasks import mixtures as _mixtures  # noqa: F401  (the command below imports it by name)
from seqio_tasks.mixtures import __main__ as mixtures_command
from seqio_tasks.templates import __main__ as templates_command
from seqio_tasks.download import command as download_command


def _set(command: str, **values: Any) -> Any:
    """A command with the tiny model and one setting."""

    def act(place: Place) -> Any:
        given: dict[str, Any] = {"MODEL_DIR": place.model, "OUTPUT_DIR": place.folder / "out"}
        if command == "train":
            given = {"MODEL_DIR": place.folder / "run", "MODEL": place.model}
        elif command == "prepare":
            given = {"STORE_DIR": place.folder / "store"}
        elif command == "plan":
            given = {"MODEL": place.model}
        elif command == "serve":
            given = {"MODEL_DIR": place.model}
        elif command == "inspect_data":
            given = {"STORE_DIR": place.store, "OUTPUT": place.folder / "page.html"}
        elif command == "sweep":
            given = {"EXPERIMENTS": place.write("list.yaml", "experiments: []"), "SWEEP_DIR": place.folder / "s"}
        return place.command(command, **(given | values))

    return act


BOUNDS = [
    ("evaluate", {"TOP_P": 2.0}, r"TOP_P=2\.0 must be"),
    ("evaluate", {"TOP_P": 0.0}, r"TOP_P=0\.0 must be"),
    ("evaluate", {"TOP_P": "nan"}, r"TOP_P='nan' must be"),
    ("evaluate", {"TOP_P": float("nan")}, r"TOP_P"),
    ("evaluate", {"TOP_K": 0}, r"TOP_K=0 must be"),
    ("evaluate", {"BEAMS": 0}, r"BEAMS=0 must be"),
    ("evaluate", {"BEAMS": -3}, r"BEAMS=-3 must be"),
    ("evaluate", {"BEAMS": True}, r"BEAMS=True must be"),
    ("evaluate", {"BEAMS": "many"}, r"BEAMS='many' must be"),
    ("evaluate", {"BEAMS": None}, r"BEAMS=None must be"),
    ("evaluate", {"BEAMS": [2]}, r"BEAMS=\[2\] must be"),
    ("evaluate", {"TEMPERATURE": -1.0}, r"TEMPERATURE=-1\.0 must be"),
    ("evaluate", {"TEMPERATURE": 1e400}, r"TEMPERATURE"),
    ("evaluate", {"LENGTH_PENALTY": 1e400}, r"LENGTH_PENALTY"),
    ("evaluate", {"MAX_LENGTH": 0}, r"MAX_LENGTH=0 must be"),
    ("evaluate", {"MAX_NEW_TOKENS": 0}, r"MAX_NEW_TOKENS=0 must be"),
    ("evaluate", {"MAX_EXAMPLES": 0}, r"MAX_EXAMPLES=0 must be"),
    ("evaluate", {"BATCH_TOKENS": 0}, r"BATCH_TOKENS=0 must be"),
    ("evaluate", {"DTYPE": "float64"}, r"DTYPE='float64' must be"),
    ("evaluate", {"DTYPE": "int8"}, r"DTYPE='int8' must be"),
    ("evaluate", {"STEP": -1}, r"STEP=-1 must be"),
    ("evaluate", {"STEP": "newest"}, r"STEP='newest' must be"),
    ("evaluate", {"STOP_STRINGS": 3}, r"STOP_STRINGS=3 must be"),
    ("evaluate", {"COMPARE_WITH": "no.json"}, r"no\.json: no such file"),
    ("evaluate", {"MODEL_DIR": ""}, r"MODEL_DIR is empty"),
    ("evaluate", {"OUTPUT_DIR": " "}, r"OUTPUT_DIR is empty"),
    ("evaluate", {"NO_SUCH": 1}, r"NO_SUCH is set but nothing uses it"),
    ("evaluate", {"BATCH_SIZE": 1}, r"evaluate does not read BATCH_SIZE"),
    ("rerank", {"MESH": "fsdp=0"}, r"mesh 'fsdp=0': fsdp must be"),
    ("rerank", {"MESH": "fsdp=3"}, r"mesh 'fsdp=3' needs 3 devices"),
    ("rerank", {"MESH": "x=1"}, r"mesh 'x=1': no axis 'x'"),
    ("rerank", {"MESH": "fsdp=" + "9" * 5000}, r"mesh"),
    ("rerank", {"DEPTH": 0}, r"DEPTH=0 must be"),
    ("rerank", {"MAX_QUERIES": 0}, r"MAX_QUERIES=0 must be"),
    ("rerank", {"METHOD": "bm25"}, r"METHOD='bm25' must be"),
    ("rerank", {"METHOD": "listwise", "WINDOW": 1}, r"WINDOW=1 must be"),
    ("rerank", {"METHOD": "listwise", "WINDOW": 4, "STRIDE": 5}, r"STRIDE 5 is larger than WINDOW 4"),
    ("rerank", {"METHOD": "listwise", "STRIDE": 0}, r"STRIDE=0 must be"),
    ("rerank", {"METHOD": "setwise", "NUM_CHILD": 0}, r"NUM_CHILD=0 must be"),
    ("rerank", {"METHOD": "setwise", "SORT": "quick"}, r"SORT|sort"),
    ("rerank", {"METHOD": "pairwise", "SORT": "quick"}, r"SORT|sort"),
    ("rerank", {"METHOD": "self_consistency", "AGGREGATE": "mean"}, r"AGGREGATE|aggregate"),
    ("rerank", {"METHOD": "listwise", "MARKER": "none"}, r"marker 'none' must contain"),
    ("rerank", {"METHOD": "listwise", "JOINER": ""}, r"joiner is empty"),
    ("rerank", {"TEMPLATE": 7}, r"no template 7 of the family pointwise_judgment; there are 2"),
    ("rerank", {"TEMPLATE": -1}, r"TEMPLATE=-1 must be"),
    ("rerank", {"PAIR": "nosuch"}, r"PAIR 'nosuch' is no ranking task"),
    ("rerank", {"PAIR": None}, r"no ranking task is named after the collection 'beir'"),
    ("rerank", {"BATCH": 0}, r"BATCH=0 must be"),
    ("rerank", {"CONCURRENT": 0}, r"CONCURRENT=0 must be"),
    ("rerank", {"STEP": 3}, r"STEP=3 was given, but only a run folder has steps"),
    ("rerank", {"MAX_LENGTH": 10**12}, None),
    ("serve", {"PORT": 70000}, r"PORT=70000 must be"),
    ("serve", {"PORT": -1}, r"PORT=-1 must be"),
    ("serve", {"MAX_BATCH": 0}, r"MAX_BATCH=0 must be"),
    ("serve", {"MAX_WAITING": 0}, r"MAX_WAITING=0 must be"),
    ("serve", {"REQUEST_TIMEOUT": 0.0}, r"REQUEST_TIMEOUT=0\.0 must be"),
    ("serve", {"METHOD": "pointwise", "WINDOW": 3}, r"METHOD pointwise has no option WINDOW"),
    ("serve", {"MODEL_DIR": "/no/such/folder"}, r"/no/such/folder: no such folder"),
    ("serve", {"MODEL_DIR": "no such/na me"}, r"no such/na me: not a local folder"),
    ("train", {"BATCH_SIZE": 0}, r"BATCH_SIZE=0 must be"),
    ("train", {"MICROBATCHES": 3}, r"MICROBATCHES|microbatches"),
    ("train", {"TRAIN_STEPS": 0}, r"TRAIN_STEPS=0 must be"),
    ("train", {"EPOCHS": None}, r"neither TRAIN_STEPS nor EPOCHS"),
    ("train", {"LEARNING_RATE": -1.0}, r"LEARNING_RATE=-1\.0 must be"),
    ("train", {"LEARNING_RATE": "fast"}, r"LEARNING_RATE='fast' must be"),
    ("train", {"WARMUP": -0.1}, r"WARMUP=-0\.1 must be"),
    ("train", {"FLOOR": 2.0}, r"FLOOR=2\.0 must be"),
    ("train", {"CLIP": 0.0}, r"CLIP=0\.0 must be"),
    ("train", {"SCHEDULE": "step"}, r"SCHEDULE='step' must be"),
    ("train", {"REMAT": "some"}, r"REMAT='some' must be"),
    ("train", {"INIT": "zeros"}, r"INIT='zeros' must be"),
    ("train", {"MESH": "tensor=-1,fsdp=-1"}, r"only one axis may be -1"),
    ("train", {"AXIS_RULES": {"mpl": None}}, r"AXIS_RULES: no logical axis 'mpl'"),
    ("train", {"AXIS_RULES": {"mlp": 3}}, r"AXIS_RULES: 'mlp'"),
    ("train", {"AXIS_RULES": [1]}, r"AXIS_RULES=\[1\] must be"),
    ("train", {"PROFILE_STEPS": "a:b"}, r"PROFILE_STEPS"),
    ("train", {"PROFILE_STEPS": "5:1"}, r"PROFILE_STEPS"),
    ("train", {"KEEP_BEST": "loss"}, r"KEEP_BEST='loss' must read"),
    ("train", {"EARLY_STOP": 2}, r"EARLY_STOP need evaluations"),
    ("train", {"MAX_LENGTH": 4096}, r"MAX_LENGTH=4096: MODEL has 2048 positions only"),
    ("train", {"MAX_LENGTH": 10**30}, r"MAX_LENGTH=1"),
    ("train", {"MODEL": 3}, r"MODEL=3 must be"),
    ("train", {"MODEL": "/no/such"}, r"/no/such: no such folder"),
    ("train", {"LORA": 8}, r"LORA=8 must be"),
    ("train", {"LORA": "lora"}, r"LORA='lora' must be"),
    ("train", {"MODEL_DIR": "/dev/null/run"}, r"/dev/null/run: MODEL_DIR cannot be written \(Not a directory\)"),
    ("train", {"MODEL_DIR": "/proc/none/run"}, r"/proc/none/run: MODEL_DIR cannot be written"),
    ("train", {"MODEL_DIR": "/x" + "y" * 300}, r"y.*File name too long"),
    ("train", {"NUM_PROCESSES": 0}, r"NUM_PROCESSES=0 must be"),
    ("plan", {"TOPOLOGY": "v99-8"}, r"v99-8"),
    ("plan", {"TOPOLOGY": "v5e-7"}, r"v5e-7"),
    ("plan", {"TOPOLOGY": ""}, r"topology|TOPOLOGY"),
    ("plan", {"LOSS_POSITIONS": 0}, r"LOSS_POSITIONS=0 must be"),
    ("plan", {"DEVICE_MEMORY": 0.0}, r"DEVICE_MEMORY=0\.0 must be"),
    ("plan", {"METHOD": "guess"}, r"METHOD='guess' must be"),
    ("plan", {"MODEL": "/no/such"}, r"/no/such"),
    ("plan", {"BATCH_SIZE": 10**12, "METHOD": "estimate", "TOPOLOGY": "v5e-8"}, None),
    ("export", {"EXPORT_DTYPE": "int8"}, r"EXPORT_DTYPE='int8' must be"),
    ("export", {"FORMAT": "onnx"}, r"FORMAT='onnx' must be"),
    ("export", {"MODEL_DIR": "/no/such"}, r"/no/such: not a run folder"),
    ("inspect_data", {"EXAMPLES": 0}, r"EXAMPLES=0 must be"),
    ("inspect_data", {"STORE_DIR": "/no/such"}, r"/no/such has no manifest\.json"),
    ("inspect_data", {"TASKS": "nosuch"}, r"nosuch"),
    ("prepare", {"STORE_DIR": None}, r"STORE_DIR has no value"),
    ("prepare", {"MAX_LENGTH": 0}, r"MAX_LENGTH=0 must be"),
    ("prepare", {"PASSES": 0}, r"PASSES=0 must be"),
    ("prepare", {"MAX_SHOTS": -1}, r"MAX_SHOTS=-1 must be"),
    ("prepare", {"EPOCH_EXAMPLES": 0}, r"EPOCH_EXAMPLES=0 must be"),
    ("prepare", {"EPOCH_EXAMPLES": 10**12}, r"EPOCH_EXAMPLES=1000000000000 must be .* at most 1e\+08"),
    ("prepare", {"CHAT_TEMPLATE": "/no/such.jinja"}, r"/no/such\.jinja: no such chat template"),
    ("prepare", {"TOKENIZER": "/no/such"}, r"/no/such"),
    ("prepare", {"STORE_DIR": "/dev/null/store"}, r"/dev/null.* cannot be"),
    ("prepare", {"MODULES": "no_such_module"}, r"no_such_module"),
    ("prepare", {"MIXTURE_OR_TASK_NAME": "nosuch"}, r"no task or mixture 'nosuch'"),
    ("prepare", {"TEMPLATES": "/no/such.yaml"}, r"/no/such\.yaml: no such template file"),
    ("sweep", {"JOBS": 0}, r"JOBS=0 must be"),
    ("sweep", {}, r"list\.yaml: a list of experiments has the key 'experiments'"),
    ("sweep", {"EXPERIMENTS": "nosuch.yaml"}, r"nosuch\.yaml' not found"),
]


def _bound(command: str, values: dict[str, Any], error: str | None) -> Case:
    shown = ", ".join(f"{name}={value!r:.30}" for name, value in values.items())
    if command != "rerank":
        return Case(f"{command} {shown}", _set(command, **values), error)
    return Case(f"rerank {shown}", lambda place: place.rerank(**values), error)


def _gin(text: bytes | str, *words: str) -> Any:
    """`evaluate` with a gin file."""
    return lambda place: place.command(
        "evaluate", f"--gin_file={place.write('own.gin', text)}", *words, COMPARE_WITH="no.json"
    )


GIN = [
    ("is sound", _gin(""), r"evaluate: MODEL_DIR has no value"),
    ("is missing", lambda place: place.command("evaluate", "--gin_file=no.gin"), r"gin file 'no\.gin' not found"),
    ("is a folder", lambda place: place.command("evaluate", f"--gin_file={place.folder}"), r"not found"),
    ("is not UTF-8", _gin(b"BEAMS = '\xff'"), r"own\.gin: cannot be read"),
    ("is UTF-16", _gin("BEAMS = 1\n".encode("utf-16")), r"own\.gin: cannot be read"),
    ("has a null byte", _gin("BEAMS = 1\0\n"), r"own\.gin"),
    ("has an open bracket", _gin("BEAMS = 1\nTASKS = ['a'\n"), r"own\.gin"),
    ("has an open quote", _gin("SPLIT = 'a\n"), r"own\.gin:1"),
    ("has no value", _gin("\nBEAMS =\n"), r"own\.gin:2"),
    ("has a bare word", _gin("\nSPLIT = test\n"), r"own\.gin:2"),
    ("has a call", _gin("BEAMS = open('/etc/passwd')\n"), r"own\.gin:1"),
    ("has an unknown name", _gin("BEEMS = 3\n"), r"own\.gin:1: BEEMS is set but nothing uses it; did you mean BEAMS"),
    ("has an unknown field", _gin("evaluate.beems = 3\n"), r"own\.gin:1: evaluate has no setting 'beems'"),
    ("has a value of the wrong type", _gin("MODEL_DIR = 'x'\n\nBEAMS = 'a'\n"), r"own\.gin:3: BEAMS='a' must be"),
    ("has an unknown macro", _gin("MODEL_DIR = 'x'\nBEAMS = %NOPE\n"), r"own\.gin:2: %NOPE is used but never set"),
    ("has a macro of itself", _gin("MODEL_DIR = 'x'\nBEAMS = %BEAMS\n"), r"own\.gin:2|BEAMS"),
    ("has macros in a circle", _gin("MODEL_DIR = 'x'\nBEAMS = %A\nA = %B\nB = %A\n"), r"own\.gin|A"),
    ("has an unknown object", _gin("MODEL_DIR = 'x'\nBEAMS = @nosuch()\n"), r"own\.gin:2: @nosuch is not known"),
    ("imports what is not there", _gin("import no_such_module\n"), r"own\.gin:1: import no_such_module"),
    ("imports what fails", lambda place: _failing_import(place), r"own\.gin:1: import failing_module"),
    ("includes itself", _gin("include 'own.gin'\n", "--gin_search_paths=."), r"own\.gin"),
    ("includes what is not there", _gin("include 'no.gin'\n"), r"own\.gin:1: gin file 'no\.gin' not found"),
    ("is nested too deeply", _gin("TASKS = " + "[" * 3000 + "]" * 3000 + "\n"), r"own\.gin: a value is nested too deeply"),
    ("has a huge number", _gin("BEAMS = " + "9" * 5000 + "\n"), r"own\.gin:1"),
    ("has a power", _gin("BEAMS = 9**9**9**9\n"), r"own\.gin:1"),
]


def _failing_import(place: Place) -> Any:
    import sys

    place.write("failing_module.py", "raise RuntimeError('no')\n")
    sys.path.insert(0, str(place.folder))
    try:
        return _gin("import failing_module\n")(place)
    finally:
        sys.path.remove(str(place.folder))


def _word(*words: str) -> Any:
    return lambda place: place.command("evaluate", *words)


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
    ("an object of the wrong field", lambda p: p.command("train", "--gin.AdamW.b9=3", "--gin.MODEL_DIR=x", "--gin.MODEL=y"), r"AdamW.* has no field 'b9'"),
    ("an object with a text as number", lambda p: p.command("train", "--gin.AdamW.b2='x'", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"), r"b2"),
    ("an object out of bounds", lambda p: p.command("train", "--gin.AdamW.b2=7", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"), r"b2"),
    ("a shape of text", lambda p: p.command("train", "--gin.MODEL=@DecoderConfig()", "--gin.DecoderConfig.hidden_size='x'", f"--gin.MODEL_DIR={p.folder / 'r'}"), r"hidden_size is 'x', expected a whole number"),
    ("a shape of ten million layers", lambda p: p.command("train", "--gin.MODEL=@DecoderConfig()", "--gin.DecoderConfig.num_layers=10000000", f"--gin.MODEL_DIR={p.folder / 'r'}"), r"num_layers is 10000000"),
    ("a shape without heads", lambda p: p.command("plan", "--gin.MODEL=@DecoderConfig()", "--gin.DecoderConfig.num_heads=0"), r"num_heads must be positive"),
    ("a shape of an unknown family", lambda p: p.command("plan", "--gin.MODEL=@DecoderConfig()", "--gin.DecoderConfig.family='x'"), r"family 'x' is not supported"),
    ("a rank of 0", lambda p: p.command("train", "--gin.LORA=@LoRA()", "--gin.LoRA.rank=0", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"), r"rank"),
    ("a rank of text", lambda p: p.command("train", "--gin.LORA=@LoRA()", "--gin.LoRA.rank='x'", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"), r"rank"),
    ("adapters of an unknown module", lambda p: p.command("train", "--gin.LORA=@LoRA()", "--gin.LoRA.targets=('x',)", f"--gin.MODEL_DIR={p.folder / 'r'}", f"--gin.MODEL={p.model}"), r"targets|x"),
]  # fmt: skip


def _sweep(text: bytes | str) -> Any:
    return lambda place: place.command(
        "sweep", EXPERIMENTS=place.write("list.yaml", text), SWEEP_DIR=place.folder / "s", DRY_RUN=True
    )


SWEEPS = [
    ("is empty", _sweep(""), r"list\.yaml: a list of experiments"),
    ("is not valid YAML", _sweep("a: [1\nb: {"), r"list\.yaml:\d+: not valid YAML"),
    ("is not UTF-8", _sweep(b"a: \xff"), r"list\.yaml: not UTF-8"),
    ("has a control character", _sweep("a: \x01"), r"list\.yaml.*not valid YAML"),
    ("is a list", _sweep("- a\n"), r"list\.yaml: a list of experiments"),
    ("has experiments as text", _sweep("experiments: a\n"), r"list\.yaml: "),
    ("has an experiment without name", _sweep("experiments: [{}]\n"), r"list\.yaml: experiment 1: it has no name"),
    ("has an unknown key", _sweep("experiments: [{name: a, stps: []}]\n"), r"list\.yaml: experiment 1: unknown key 'stps'"),
    ("has an unknown step", _sweep("experiments: [{name: a, steps: [fly]}]\n"), r"experiment 1 \(a\): no step 'fly'"),
    ("has seeds of text", _sweep("seeds: [a]\nexperiments: [{name: a}]\n"), r"list\.yaml: seeds are whole numbers"),
    ("has a number as seeds", _sweep("seeds: 3\nexperiments: [{name: a}]\n"), r"list\.yaml: .*seeds"),
    ("has a name that leaves the folder", _sweep("experiments: [{name: '..'}]\n"), r"list\.yaml: .*'\.\.'"),
    ("has a series of lists", _sweep("experiments: [{name: a, series: {x: [1]}}]\n"), r"experiment 1 \(a\): the values of series"),
    ("has a tag of Python", _sweep("experiments: !!python/object/apply:os.system [ls]\n"), r"list\.yaml.*not valid YAML"),
    ("has an alias bomb", _sweep("a: &a [x, x]\nb: &b [*a, *a]\nexperiments: [{name: *b}]\n"), r"list\.yaml: "),
]  # fmt: skip


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
    *(_bound(command, values, error) for command, values, error in BOUNDS),
    *(Case(f"gin file {name}", act, error) for name, act, error in GIN),
    *(Case(f"command line has {name}", act, error) for name, act, error in WORDS),
    *(Case(f"list of experiments {name}", act, error) for name, act, error in SWEEPS),
    *(Case(name, act, error) for name, act, error in PLAIN),
]
