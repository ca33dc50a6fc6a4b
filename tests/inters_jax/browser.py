"""A page in a real browser, without a window and without a network: its document, and what it asked for."""

import json
import shutil
import subprocess

from inspection_stand_ins import Elements

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
NO_BROWSER = f"no browser: none of {', '.join(BROWSERS)} is installed"


def opened(path, fragment="", *, log=None):
    """The document of a page after its script has run; no name resolves meanwhile."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000",
        f"--user-data-dir={path.parent / 'profile'}", *([f"--log-net-log={log}"] if log else []),
        "--dump-dom", path.as_uri() + fragment,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return Elements(done.stdout)


def title(document):
    return next(document.text[n] for n, (tag, _) in enumerate(document.found) if tag == "title")


def requests(log):
    """What pages asked for, without the browser's own requests (its clock, its updates)."""
    content = json.loads(log.read_text())
    started = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    parameters = [event.get("params", {}) for event in content["events"] if event["type"] == started]
    return [p["url"] for p in parameters if "file://" in p.get("network_isolation_key", "")]
