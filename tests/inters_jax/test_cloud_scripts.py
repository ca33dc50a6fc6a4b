"""scripts/tpu: what they would run (--dry-run), and what they do with a cloud that is played by a script."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SCRIPTS = Path(__file__).parents[2] / "scripts" / "tpu"
TRAIN = [
    "--gin_file=mistral.gin",
    "--gin.MODEL_DIR=gs://bucket/run1",
    "--gin.LORA=@LoRA()",
    "--gin.TASKS=a b",
]

# The flags each command has, from `gcloud ... --help` (SDK 528), xpk's parser and SkyPilot's reference.
PLACE = {"--zone", "--project"}
QUEUED = ("gcloud", "compute", "tpus", "queued-resources")
TPU_VM = ("gcloud", "compute", "tpus", "tpu-vm")
FLAGS: dict[tuple[str, ...], set[str]] = {
    (*QUEUED, "create"): {
        "--accelerator-type", "--runtime-version", "--node-id", "--node-count", "--node-prefix", "--spot",
        "--reserved", "--service-account", *PLACE,
    },
    (*QUEUED, "describe"): {"--format", *PLACE},
    (*QUEUED, "delete"): {"--force", "--quiet", *PLACE},
    (*TPU_VM, "ssh"): {"--worker", "--command", *PLACE},
    (*TPU_VM, "scp"): {"--worker", *PLACE},
    ("git", "-C"): {"--format", "--output"},
    ("gcloud", "container", "clusters", "get-credentials"): {"--location", "--project"},
    ("kubectl", "logs"): {"--follow", "--selector", "--all-containers", "--tail"},
    ("xpk", "cluster", "create"): {
        "--cluster", "--tpu-type", "--device-type", "--num-slices", "--num-nodes", "--spot", "--on-demand",
        "--reservation", *PLACE,
    },
    ("xpk", "cluster", "delete"): {"--cluster", "--force", *PLACE},
    ("xpk", "workload", "create"): {
        "--workload", "--cluster", "--tpu-type", "--device-type", "--num-slices", "--num-nodes",
        "--base-docker-image", "--script-dir", "--max-restarts", "--restart-on-user-code-failure",
        "--termination-grace-period-seconds", "--env", "--command", *PLACE,
    },
    ("xpk", "workload", "list"): {"--cluster", "--wait-for-job-completion", *PLACE},
    ("xpk", "workload", "delete"): {"--workload", "--cluster", "--force", *PLACE},
    ("sky", "jobs", "launch"): {
        "--name", "--gpus", "--num-nodes", "--infra", "--use-spot", "--workdir", "--env", "--yes",
        "--detach-run",
    },
    ("sky", "jobs", "logs"): {"--name"},
    ("sky", "jobs", "queue"): set(),
    ("sky", "jobs", "cancel"): {"--name", "--yes"},
}  # fmt: skip


def call(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments],
        capture_output=True, text=True, timeout=60, env=os.environ | environment,
    )  # fmt: skip


def dry(script: str, *arguments: str) -> list[list[str]]:
    """The commands of a dry run as words; each must be a known command with flags that it has."""
    done = call(script, *arguments[:2], "--dry-run", *arguments[2:])
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]
    assert commands
    for words in commands:
        known = [flags for command, flags in FLAGS.items() if tuple(words[: len(command)]) == command]
        assert known, words
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known[0], (words[:4], used - known[0])
    return commands


def last_words(command: str) -> list[str]:
    """What a shell makes of a command line that only prints its words."""
    return subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_a_slice_is_made_prepared_and_started() -> None:
    made = dry("vm.sh", "keep", "run1", "--zone=us-west4-a", "--type=v5litepod-8", "--spot", "--", *TRAIN)
    assert made[0] == [
        *QUEUED, "create", "run1", "--zone=us-west4-a", "--accelerator-type=v5litepod-8",
        "--runtime-version=v2-alpha-tpuv5-lite", "--node-id=run1", "--spot",
    ]  # fmt: skip
    actions = [" ".join(words[3:5]) for words in made if words[0] == "gcloud"]
    assert actions == [
        "queued-resources create", "queued-resources describe", "tpu-vm scp", "tpu-vm ssh", "tpu-vm ssh",
        "queued-resources describe", "tpu-vm ssh", "queued-resources delete", "queued-resources delete",
    ]  # fmt: skip


def test_every_slice_and_every_host_gets_every_command() -> None:
    made = dry("vm.sh", "setup", "run1", "--zone=z", "--slices=3", "--project=p")
    reached = [words[5] for words in made if words[3:5] == ["tpu-vm", "ssh"]]
    assert reached == ["run1-0", "run1-1", "run1-2"]
    assert all("--worker=all" in words and "--project=p" in words for words in made[1:])
    asked = dry("vm.sh", "create", "run1", "--zone=z", "--type=v6e-8", "--slices=3")[0]
    assert {"--node-count=3", "--node-prefix=run1", "--runtime-version=v2-alpha-tpuv6e"} <= set(asked)


def test_training_arguments_arrive_as_they_were_given() -> None:
    """Through the printed line, the shell of the host, and the shell of the service."""
    command = dry("vm.sh", "start", "run1", "--zone=z", "--", *TRAIN)[0][-1].removeprefix("--command=")
    service = last_words(command.rpartition(" sudo systemd-run ")[2])
    assert {"--unit=inters-train", "--property=Restart=on-failure"} <= set(service)
    inner = service[-1].removesuffix(" && touch done")
    assert last_words(inner) == ["python", "-m", "inters_jax.train", *TRAIN]

    command = dry(
        "gke.sh", "start", "run1", "--cluster=c", "--zone=us-west4-a", "--type=v5litepod-16", "--", *TRAIN
    )[0][-1]
    assert last_words(command.rpartition(" && ")[2]) == ["python", "-m", "inters_jax.train", *TRAIN]

    words = dry("sky.sh", "start", "run1", "--accelerators=tpu-v6e-8", "--spot", "--", *TRAIN)[0]
    assert last_words(words[words.index("--env") + 1].removeprefix("TRAIN=")) == TRAIN


@pytest.mark.parametrize(
    "arguments",
    [
        ("gke.sh", "create", "cluster1", "--zone=us-west4-a", "--type=v5litepod-16", "--slices=2", "--spot"),
        ("gke.sh", "create", "c1", "--zone=us-west4-a", "--device-type=h100-mega-80gb-8", "--reservation=r"),
        ("gke.sh", "follow", "run1", "--cluster=c", "--zone=us-west4-a", "--project=p"),
        ("gke.sh", "wait", "run1", "--cluster=c", "--zone=us-west4-a"),
        ("gke.sh", "stop", "run1", "--cluster=c", "--zone=us-west4-a"),
        ("gke.sh", "delete", "c", "--zone=us-west4-a"),
        ("vm.sh", "follow", "run1", "--zone=z"),
        ("vm.sh", "status", "run1", "--zone=z"),
        ("vm.sh", "delete", "run1", "--zone=z"),
        ("sky.sh", "start", "run1", "--accelerators=H100:8", "--nodes=2", "--infra=gcp", "--", *TRAIN),
        ("sky.sh", "follow", "run1"),
        ("sky.sh", "status", "run1"),
        ("sky.sh", "delete", "run1"),
    ],
)
def test_every_action_prints_commands_that_exist(arguments: tuple[str, ...]) -> None:
    dry(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vm.sh", "create", "run1"), "--zone is missing"),
        (("vm.sh", "create", "Run 1", "--zone=z"), "lower-case letters"),
        (("vm.sh", "create", "run1", "--zon=z"), "--zon=z is not known; the options are: --zone --project"),
        (("vm.sh", "start", "run1", "--zone=z"), "what to train is missing"),
        (("vm.sh", "erase", "run1", "--zone=z"), "erase is not an action"),
        (("vm.sh", "create", "run1", "--zone=z", "--type=x", "--dry-run"), "set --runtime"),
        (("gke.sh", "create", "c", "--zone=z", "--type=v6e-8"), "choose one of --spot, --on-demand"),
        (("sky.sh", "start", "r", "--accelerators=tpu-v6e-8", "--nodes=2", "--", "x"), "is one node"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments: tuple[str, ...], message: str) -> None:
    done = call(*arguments)
    assert done.returncode == 2 and message in done.stderr


def test_a_run_that_is_on_the_machine_alone_is_told() -> None:
    done = call("vm.sh", "start", "r", "--zone=z", "--dry-run", "--", "--gin.MODEL_DIR=runs/a")
    assert "is lost with it" in done.stdout


# A cloud with one queued resource: `states` holds what describe answers, one line each; a command on a host
# runs here, in the folder `host`, with sudo and systemctl doing what they are told.
CLOUD = r"""#!/usr/bin/env bash
echo "$*" >> "$CLOUD/log"
case "$*" in
  *queued-resources*create*) echo ACTIVE > "$CLOUD/state" ;;
  *queued-resources*delete*) rm -f "$CLOUD/state"; rm -rf "$CLOUD/host"; mkdir "$CLOUD/host" ;;
  *queued-resources*describe*)
    [[ -f $CLOUD/state ]] || exit 1
    # The fourth look finds the machines taken away, once.
    looks=$(($(cat "$CLOUD/looks" 2>/dev/null || echo 0) + 1)); echo $looks > "$CLOUD/looks"
    [[ $looks -ne 4 ]] || echo SUSPENDED > "$CLOUD/state"
    cat "$CLOUD/state" ;;
  *tpu-vm*scp*) cp "$5" "$CLOUD/host/inters-jax.tar.gz" ;;
  *tpu-vm*ssh*)
    for word in "$@"; do [[ $word != --command=* ]] || command=${word#--command=}; done
    cd "$CLOUD/host" && HOME=$CLOUD/host PATH=$CLOUD/bin:$PATH bash -c "$command" ;;
esac
"""
SUDO = """#!/usr/bin/env bash
[[ $1 == systemd-run ]] || exit 0
touch unit
# The service of the second machine finishes; that of the first is still at work when it goes.
runs=$(($(cat "$CLOUD/runs" 2>/dev/null || echo 0) + 1)); echo $runs > "$CLOUD/runs"
[[ $runs -lt 2 ]] || touch done
"""
SYSTEMCTL = """#!/usr/bin/env bash
if [[ -e unit ]]; then echo loaded; else echo not-found; fi
"""
PYTHON = """#!/usr/bin/env bash
# Only pip is called: a package of uv with the digests of the repository.
[[ $* == *--require-hashes* ]] && grep -q sha256 "${@: -1}" || exit 1
mkdir -p .uv/bin; cp "$CLOUD/uv" .uv/bin/uv; chmod +x .uv/bin/uv
"""
UV = """#!/bin/sh
case $1 in
  venv) mkdir -p venv/bin && ln -s "$INTERPRETER" venv/bin/python ;;
  pip) echo "$*" >> "$CLOUD/installed" ;;
esac
"""


def test_spot_machines_that_are_taken_away_are_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "host").mkdir()
    (tmp_path / "tmp").mkdir()
    programs = {
        "gcloud": CLOUD,
        "sudo": SUDO,
        "systemctl": SYSTEMCTL,
        "python3": PYTHON,
        "sleep": "#!/bin/sh\n",
    }
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "uv").write_text(UV)
    done = call(
        "vm.sh", "keep", "run1", "--zone=z", "--type=v6e-8", "--spot", "--every=0", "--extras=tpu", "--",
        *TRAIN, CLOUD=str(tmp_path), TMPDIR=str(tmp_path / "tmp"), INTERPRETER=sys.executable,
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any((tmp_path / "tmp").iterdir())  # where the archive of the repository was
    log = (tmp_path / "log").read_text()
    assert log.count("queued-resources create") == 2 and log.count("queued-resources delete") == 2
    assert "the machines were preempted" in done.stdout and "training is done" in done.stdout
    assert not (tmp_path / "state").exists()
    tested = "constraints.txt" if sys.version_info < (3, 12) else "constraints-3.12.txt"
    install = f"pip install --python venv/bin/python -c inters-jax/{tested} ./inters-jax[tpu]"
    assert (tmp_path / "installed").read_text().splitlines() == [install] * 2


@pytest.mark.parametrize("name", ["sky_tpu.yaml", "sky_gpu.yaml"])
def test_sky_jobs_are_whole(name: str) -> None:
    job = yaml.safe_load((SCRIPTS / name).read_text(encoding="utf-8"))
    assert job.keys() <= {"name", "resources", "num_nodes", "envs", "setup", "run"}
    assert job["envs"]["INTERS_STOPPED_EXIT"] == "75" and "TRAIN" in job["envs"]
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=job[part], text=True, check=True)
    # The words of TRAIN reach the program as they were given.
    shown = job["run"].replace("exec ~/venv/bin/python", "printf '%s\\n'")
    environment = os.environ | {"TRAIN": shlex.join(TRAIN), "SKYPILOT_NUM_NODES": "1"}
    found = subprocess.run(["bash", "-c", shown], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["-m", "inters_jax.train", *TRAIN]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    files = [str(file) for file in sorted(SCRIPTS.glob("*.sh"))]
    done = subprocess.run(["shellcheck", "-x", *files], cwd=SCRIPTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
