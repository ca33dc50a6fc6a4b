"""The head of every HTML page that is written here: nothing is loaded, no script runs but the page's own.

The page's Content-Security-Policy allows its own style and, where it has one, its own script by its hash, and
no connection at all: even text of data that found a way to be taken for markup could run and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape


def head(title: str, style: str, script: str = "") -> str:
    """From the doctype to `</head>`.

    Args:
      title: plain text.
      style: CSS, which ends with a line break.
      script: the text of the page's one script; "": the page has none.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{content_policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>"""


def content_policy(script: str = "") -> str:
    """The Content-Security-Policy of a page with this script.

    >>> content_policy()
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    >>> content_policy("let a = 1").split("; ")[1]
    "script-src 'sha256-LAfYd7pbFUgwfQu8b4q135PeTG2z+/coPEUYCd74eCQ='"
    """
    allowed = ["default-src 'none'"]
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed.append(f"script-src 'sha256-{digest}'")
    rest = ["style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    return "; ".join([*allowed, *rest])
