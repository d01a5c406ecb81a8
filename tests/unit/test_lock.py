"""The lock is complete, and the repository names neither registries nor one machine's paths."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Joined from pieces, so that this file does not match itself.
REGISTRY_HOSTS = tuple(
    ".".join(pieces)
    for pieces in (
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)
REGISTRY = re.compile("|".join(re.escape(host) for host in REGISTRY_HOSTS), re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.~-])/" + "(?:work|root)" + r"/")


def tracked_texts() -> list[tuple[str, str]]:
    """Names and contents of the tracked files that are text."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git work tree")
    texts = []
    for name in listing.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            texts.append((name, content.decode(errors="replace")))
    return texts


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {match[0]}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]


def locked_requirements() -> list[str]:
    """The lock's requirements, continuation lines joined."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_each_locked_requirement_is_pinned_and_has_a_hash() -> None:
    requirements = locked_requirements()
    assert requirements
    for requirement in requirements:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ ", requirement), requirement
        assert re.search(r" --hash=sha256:[0-9a-f]{64}(\s|$)", requirement), requirement


def test_no_tracked_file_names_a_package_registry() -> None:
    assert places(REGISTRY) == []


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    assert places(MACHINE_PATH) == []


def test_the_patterns_find_what_they_are_for() -> None:
    for host in REGISTRY_HOSTS:
        assert REGISTRY.search(f"https://{host}/simple")
    assert MACHINE_PATH.search("in /" + "work/main")
    assert not MACHINE_PATH.search("docs/" + "work/main")
