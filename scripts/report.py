#!/usr/bin/env python3
"""Row by row of the catalogue of faults: which tests play it, how often they did, what they found.

    report.py RUN TRIALS [TABLE.md [REPORT.json]]

RUN is what `cargo test` printed; TRIALS the lines that tests wrote where HOLDFAST_TRIALS says (a test that writes none
plays its fault once on each engine). The tests of each row stand in docs/reference/attack-tests.md. A row without a test says so. Exit 1:
a test that was run found a violation; else 0.
"""

import json
import os
import re
import sys

ROWS = ([f"F{n:02}" for n in range(1, 26) if n not in (13, 15)] + ["S01", "S03", "S04", "S05", "S07", "S08", "S09"]
        + ["H05", "H06", "L01", "L03", "L04", "L05", "D05", "D06", "D07", "D08"])
TABLE = os.path.join(os.path.dirname(__file__), "..", "docs", "reference", "attack-tests.md")


def ran(path):
    """Test name without its modules -> ok, FAILED or ignored, the worst of those with one name; and how many these are."""
    worst, said, times = {"ok": 0, "ignored": 1, "FAILED": 2}, {}, {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)\b", line)
            if found:
                # One that is run on each engine is a module with a test for each.
                *_, above, name = ["", *found[1].split("::")]
                name = above if name in ("sqlite", "postgres") else name
                said[name] = max(said.get(name, "ok"), found[2], key=worst.get)
                times[name] = times.get(name, 0) + 1
    return said, times


def trials(path):
    told = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in map(json.loads, filter(None, file.read().split("\n"))):
                told[line["test"]] = told.get(line["test"], 0) + line["trials"]
    return told


def catalogue():
    rows = {}
    with open(TABLE, encoding="utf-8") as file:
        for line in file:
            cells = line.split(" | ", 2)
            if len(cells) == 3 and cells[0].startswith("| "):
                rows[cells[0][2:]] = (cells[1], re.findall(r"`(\w+)` \(", cells[2]))
    return rows


def main(run, counted, table=None, report=None):
    (said, times), told, known = ran(run), trials(counted), catalogue()
    lines, rows = ["| row | fault | tests run | trials | violations |", "|---|---|---|---|---|"], []
    for row in ROWS:
        meaning, tests = known.get(row, ("", []))
        here = [test for test in tests if said.get(test, "ignored") != "ignored"]
        played = sum(told.get(test, times[test]) for test in here if said[test] == "ok")
        wrong = [test for test in here if said[test] == "FAILED"]
        rows.append({"row": row, "fault": meaning, "tests": tests, "run": here, "trials": played, "violations": wrong})
        if tests and not here:
            continue
        count = f"{len(here)} of {len(tests)}" if tests else "none yet"
        names = ": " + ", ".join(f"`{test}`" for test in wrong) if wrong else ""
        lines.append(f"| {row} | {meaning} | {count} | {played} | {len(wrong)}{names} |")
    text = "\n".join(lines)
    print(text)
    if table:
        with open(table, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    if report:
        with open(report, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    return 1 if any(row["violations"] for row in rows) else 0


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
