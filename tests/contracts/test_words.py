"""Words that the project no longer uses: each thing has one name, the usual one of the field."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A word that is gone, and the one to use.
RETIRED = {
    r"trunks?": "backbone",
    r"drawn people": "synthetic identities",
    r"lanes?": "slot, worker group",
    r"spells?": "interval",
    r"grey": "grayscale",
    r"describers?": "Embedder",
    r"exams?": "EvaluationJob",
    r"replay[ _]pool": "image pool",
    r"pixel[ _]?store": "image cache",
    r"hurry": "short_timeouts",
    r"descriptors?": "embedding",
    r"judges?": "discriminator",
}
# Parts of identifiers count as words: train_lane contains "lane".
PATTERN = re.compile(rf"(?<![a-z])(?:{'|'.join(RETIRED)})(?![a-z])", re.IGNORECASE)
CHANGED = re.compile(r"^### Changed\n.*?(?=^##|\Z)", re.MULTILINE | re.DOTALL)


def tracked_texts() -> dict[str, str]:
    """Texts of the repository by file, without the changelog's list of renames and this test."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    files = {name: ROOT / name for name in listed.stdout.splitlines()}
    texts = {
        name: path.read_text()
        for name, path in files.items()
        if path.is_file() and path != Path(__file__) and b"\0" not in path.read_bytes()
    }
    return texts | {"CHANGELOG.md": CHANGED.sub("", texts["CHANGELOG.md"])}


def test_retired_words_are_not_used():
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in tracked_texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        for match in PATTERN.finditer(line)
    ]
    assert not found, "\n".join([*found, f"use instead: {RETIRED}"])
