"""Run a command in a terminal and draw what is on the screen at its end, as an SVG file.

    python scripts/terminal_picture.py FILE.svg "TITLE" COMMAND [ARGUMENT …]

The pictures of the README are made by

    bin/quickstart                                   # fetches the pictures
    python scripts/terminal_picture.py docs/quickstart.svg "bin/quickstart" bin/quickstart

Supported control sequences are those that the project prints: carriage return, erase line, bold, dim and
colours. The home directory is written as ~.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

COLUMNS, LINE_HEIGHT, CHARACTER_WIDTH, MARGIN = 80, 18, 8.43, 16
STYLES = {"1": "font-weight:bold", "2": "fill:#8b949e", "31": "fill:#ff7b72", "32": "fill:#7ee787"}
Line = list[tuple[str, str]]  # a character and its style


def record(command: list[str]) -> str:
    """Run `command` in a pseudo terminal of 80 columns; return its output, or exit with its status."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = b""
    while chunk := read(ours):
        output += chunk
    if process.wait():
        sys.exit(process.returncode)
    return output.decode().replace(str(Path.home()), "~")


def read(terminal: int) -> bytes:
    """Return the next bytes; none at the end, which Linux reports as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def screen(output: str) -> list[Line]:
    """Return the lines that are visible at the end."""
    lines: list[Line] = [[]]
    style, column = "", 0
    for token in re.findall(r"\x1b\[[\d;]*[A-Za-z]|[^\x1b]", output.replace("\r\n", "\n")):
        if token == "\n":
            lines.append([])
            column = 0
        elif token == "\r":
            column = 0
        elif token == "\x1b[K":
            del lines[-1][column:]
        elif token.endswith("m") and token[0] == "\x1b":
            style = ";".join(STYLES[code] for code in token[2:-1].split(";") if code in STYLES)
        elif token[0] != "\x1b":
            lines[-1][column : column + 1] = [(token, style)]
            column += 1
    while lines and not lines[-1]:
        lines.pop()
    return lines


def spans(line: Line) -> str:
    """Return a line as SVG, a `tspan` for each run of one style."""
    runs: list[list[str]] = []
    for character, style in line:
        if runs and runs[-1][1] == style:
            runs[-1][0] += character
        else:
            runs.append([character, style])
    return "".join(f'<tspan style="{style}">{escape(text)}</tspan>' for text, style in runs)


def picture(title: str, lines: list[Line]) -> str:
    """Return the SVG of a terminal window."""
    width = round(COLUMNS * CHARACTER_WIDTH + 2 * MARGIN)
    height = (len(lines) + 2) * LINE_HEIGHT + 2 * MARGIN
    rows = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + (number + 2) * LINE_HEIGHT}" xml:space="preserve">'
        f"{spans(line)}</text>"
        for number, line in enumerate(lines)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">
<title>{escape(title)}</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace, DejaVu Sans Mono, Menlo, monospace" font-size="14" fill="#e6edf3">
<text x="{MARGIN}" y="{MARGIN + LINE_HEIGHT // 2}" fill="#8b949e">$ {escape(title)}</text>
{rows}
</g>
</svg>
"""


if __name__ == "__main__":
    file, title, *command = sys.argv[1:]
    Path(file).write_text(picture(title, screen(record(command))), encoding="utf-8")
