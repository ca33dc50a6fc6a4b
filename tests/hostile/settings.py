"""Hostile settings: values out of bounds, types and names."""

from __future__ import annotations

from typing import Any

from hostile.cases import Case, Place


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
            given = {
                "EXPERIMENTS": place.write("list.yaml", "experiments: []"),
                "SWEEP_DIR": place.folder / "s",
            }
        return place.command(command, **(given | values))

    return act


def _bound(command: str, values: dict[str, Any], error: str | None) -> Case:
    shown = ", ".join(f"{name}={value!r:.30}" for name, value in values.items())
    if command != "rerank":
        return Case(f"{command} {shown}", _set(command, **values), error)
    return Case(f"rerank {shown}", lambda place: place.rerank(**values), error)


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
    (
        "rerank",
        {"INTERPOLATION": 1.5},
        r"INTERPOLATION=1\.5 must be a number of at least 0 and at most 1, or a p",
    ),
    ("rerank", {"INTERPOLATION": "nan"}, r"INTERPOLATION: nan: no such file"),
    ("rerank", {"INTERPOLATION": True}, r"INTERPOLATION=True must be"),
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
    (
        "train",
        {"MODEL_DIR": "/dev/null/run"},
        r"/dev/null/run: MODEL_DIR cannot be written \(Not a directory\)",
    ),
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
    ("prepare", {"WORKERS": 0}, r"WORKERS=0 must be"),
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

CASES = [_bound(command, values, error) for command, values, error in BOUNDS]
