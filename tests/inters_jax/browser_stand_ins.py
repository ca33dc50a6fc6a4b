"""Pages opened in a real browser, headless, without a network: what a reader sees after the scripts ran."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from inspection_stand_ins import Elements

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is installed"
)


def opened(
    address: str | Path,
    profile: Path,
    *,
    milliseconds: int = 3000,
    log: Path | None = None,
    local: bool = False,
) -> str:
    """The document of a page, as HTML.

    Args:
      address: a file or a URL, perhaps with a fragment.
      profile: folder for the browser's own files.
      milliseconds: of the browser's virtual time, after which the document is printed.
      log: where the browser writes what it asked of the network.
      local: names resolve, for a server on this machine; otherwise none does.
    """
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--virtual-time-budget={milliseconds}", f"--user-data-dir={profile}",
        *([] if local else ["--host-resolver-rules=MAP * ~NOTFOUND"]),
        *([f"--log-net-log={log}"] if log else []),
        "--dump-dom", address.as_uri() if isinstance(address, Path) else address,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def document(path: Path, fragment: str = "", *, log: Path | None = None) -> Elements:
    """The document of a page that lies on disk, taken apart."""
    return Elements(opened(path.as_uri() + fragment, path.parent / "profile", milliseconds=5000, log=log))


def title(page: Elements) -> str:
    return next(page.text[n] for n, (tag, _) in enumerate(page.found) if tag == "title")


def requests(log: Path) -> list[str]:
    """What pages asked for, without the browser's own requests (its clock, its updates)."""
    content = json.loads(log.read_text())
    started = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    parameters = [event.get("params", {}) for event in content["events"] if event["type"] == started]
    return [p["url"] for p in parameters if "file://" in p.get("network_isolation_key", "")]
