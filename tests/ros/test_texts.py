"""Client text in logs: legible, cut, and not too many lines."""

from __future__ import annotations

from typing import Any

import pytest

from sam_ros.runtime.logs import MOST_LINES, WINDOW, BoundedLog
from sam_ros.runtime.texts import LONGEST_LINE, legible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cup", "cup"),
        ("Tasse № 3, カップ", "Tasse № 3, カップ"),
        ("a\n[ERROR] b\r", "a\\n[ERROR] b\\r"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202e\ud800", "\\u202e\\ud800"),
        ("x" * LONGEST_LINE, "x" * LONGEST_LINE),
        ("x" * (LONGEST_LINE + 7), "x" * LONGEST_LINE + " … (7 more characters)"),
    ],
)
def test_text_is_escaped_and_cut(text: str, shown: str) -> None:
    assert legible(text) == shown


class Lines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(line)


def test_a_flood_of_lines_is_thinned_out_and_that_is_said() -> None:
    now = 0.0
    lines: Any = Lines()
    log = BoundedLog(lines, clock=lambda: now)
    for i in range(MOST_LINES + 30):
        log.warning(f"refused {i}\n")
    assert lines.lines == [f"refused {i}\\n" for i in range(MOST_LINES)]
    now = WINDOW
    log.warning("later")
    log.warning("last")
    assert lines.lines[-2:] == ["later (30 lines before it are left out)", "last"]
