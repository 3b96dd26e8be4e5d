#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Reads KTAP, the way the kernel's selftests and KUnit print test results.

    tests/ktap.py [FILE...]     reads files, or stdin; prints failed and skipped
                                tests; the last line is the count. The status
                                is 0 only if no test failed and some test passed

The output of a test that ended early looks much like that of one that passed.
So every level of results must begin with a version line and a plan, have the
planned number of results, numbered from 1 without gap or repetition, and agree
with the results nested in it.  Each violation counts as one failure.  All other
lines are notes: they have no effect, but those before a failure, and the last
ones of a test that ended early, are shown with it.
"""

import dataclasses
import fnmatch
import re
import sys

VERSION = re.compile(r"(KTAP version 1|TAP version 1[34])$")
PLAN = re.compile(r"1\.\.(\d+)(?:\s+#\s*SKIP\b[\s:-]*(?P<why>.*))?$")
RESULT = re.compile(
    r"(?P<no>not )?ok\b(?: (?P<number>\d+)\b)?(?: -)?(?P<name>(?: .*?)??)"
    r"(?:\s+#\s*(?P<directive>SKIP|TODO|XFAIL|XPASS|TIMEOUT|ERROR)\b:?"
    r"(?P<why>.*))?$")
BAIL = re.compile(r"Bail out!\s*(.*)")
# KUnit gives no plan to the parameters of one test, but their sum.
TOTAL = re.compile(r"# .*: ?pass:\d+ fail:\d+ skip:\d+ total:(\d+)$")
# Notes that only repeat the result after them.
NOISE = re.compile(r"#\s+(OK|FAIL)\s|# (Subtest|Totals|PASSED|FAILED|module):|"
                   r"# Starting \d+ tests|# .*: ?pass:\d+ fail:\d+ ")
RUN = re.compile(r"#\s+RUN\s")
NOTES, WIDTH = 10, 200  # shown notes of a failure: lines, characters

PASS, FAIL, SKIP = "pass", "fail", "skip"
# The status that a directive stands for; an expected failure does not pass.
DIRECTIVES = {"SKIP": SKIP, "XFAIL": SKIP, "TODO": SKIP,
              "XPASS": FAIL, "TIMEOUT": FAIL, "ERROR": FAIL}


@dataclasses.dataclass
class Case:
    """One test: its full name, PASS, FAIL or SKIP, the reason, and its notes."""
    name: str
    status: str
    why: str = ""
    notes: list = dataclasses.field(default_factory=list)
    most: int = NOTES       # lines of notes that are shown

    def shown(self):
        """The notes; the middle of many and the ends of long ones are cut."""
        notes = [note if len(note) <= WIDTH else note[:WIDTH - 3] + "..."
                 for note in self.notes]
        if len(notes) > self.most:
            half = self.most // 2
            left = len(notes) - self.most + 1
            notes[half:half + left] = [f"... {left} lines ..."]
        return notes


@dataclasses.dataclass
class Level:
    """Results of one indentation, until the result that sums them up."""
    indent: int
    plan: int | None = None
    plan_why: str = ""
    total: int | None = None
    seen: int = 0
    cases: list = dataclasses.field(default_factory=list)


class Results(list):
    """The cases of one or more readings."""

    def count(self, status):  # pylint: disable=arguments-renamed
        return sum(case.status == status for case in self)

    def numbers(self):
        return self.count(PASS), self.count(FAIL), self.count(SKIP)

    def good(self):
        return bool(self.count(PASS)) and not self.count(FAIL)

    def summary(self):
        passed, failed, skipped = self.numbers()
        return f"{passed} passed, {failed} failed, {skipped} skipped"

    def expecting(self, known, source):
        """The results of a kernel with known faults.

        known has the tests that fail there, as patterns of names, and why;
        source is where it comes from.  Such a failure counts as skipped.  One
        that does not occur is a failure, so that known cannot become outdated.
        """
        expected = Results()
        for case in self:
            why = next((why for pattern, why in known.items()
                        if fnmatch.fnmatchcase(case.name, pattern)), None)
            if why and case.status == FAIL:
                case = Case(case.name, SKIP, f"known fault: {why}")
            elif why and case.status == PASS:
                case = Case(case.name, FAIL, f"passes: remove it from {source}")
            expected.append(case)
        return expected

    def details(self):
        """Lines for each failed and each skipped case."""
        for case in self:
            if case.status == FAIL:
                yield f"failed: {case.name}" + (case.why and f": {case.why}")
                yield from (f"    {note}" for note in case.shown())
        for case in self:
            if case.status == SKIP:
                yield f"skipped: {case.name}: {case.why or 'no reason given'}"


class _Reader:
    def __init__(self):
        self.levels = []
        self.orphans = None     # a closed level without its result yet
        self.broken = []
        self.top_done = False
        self.notes = []         # since the last result

    def complain(self, what, notes=()):
        self.broken.append(Case("KTAP", FAIL, what, list(notes)))

    def version(self, indent):
        """Opens a level."""
        self.close_deeper(indent)
        if self.levels and self.levels[-1].indent == indent:
            self.complain("a second version line")
            return
        self.drop_orphans()
        self.levels.append(Level(indent))

    def drop_orphans(self):
        if self.orphans:
            self.complain("results without the result that sums them up")
        self.orphans = None

    def close_level(self):
        """Checks the innermost level against its plan."""
        level = self.levels.pop()
        where = "" if level.indent == 0 else \
            f" at indentation {level.indent}"
        plan = level.plan
        if plan is None and level.indent:
            plan = 1 if level.total is None else level.total
        if plan is None:
            self.complain("no plan")
        elif level.seen != plan:
            self.complain(f"{plan} results planned, {level.seen} seen{where}",
                          self.notes)
            self.notes = []
        if plan == 0 and level.plan_why:
            level.cases.append(Case("all", SKIP, level.plan_why))
        if not level.cases:
            self.complain(f"no tests{where}")
        return level

    def close_deeper(self, indent):
        """Leaves the levels that are nested deeper than a line at indent."""
        while self.levels and self.levels[-1].indent > indent:
            level = self.close_level()
            self.drop_orphans()
            self.orphans = level

    def plan(self, indent, match):
        self.close_deeper(indent)
        if not self.levels or self.levels[-1].indent != indent:
            self.complain("a plan without a version line")
            return
        level = self.levels[-1]
        if level.plan is not None:
            self.complain("a second plan")
        level.plan = int(match[1])
        level.plan_why = match["why"] or ""

    def result(self, indent, match):
        self.close_deeper(indent)
        if not self.levels or self.levels[-1].indent != indent:
            self.complain("a result without a version line: "
                          + match[0].strip())
            self.orphans = None
            return
        level = self.levels[-1]
        level.seen += 1
        name = match["name"].strip() or f"test {level.seen}"
        if match["number"] is None:
            self.complain(f"no number: {name}")
        elif int(match["number"]) != level.seen:
            self.complain(f"number {match['number']} where {level.seen} "
                          f"was due: {name}")

        status = FAIL if match["no"] else PASS
        directive = match["directive"]
        why = (match["why"] or "").strip()
        if directive and not (match["no"] and directive == "SKIP"):
            status = DIRECTIVES[directive]
        if directive and directive != "SKIP":
            why = f"{directive} {why}".strip()

        notes = [note for note in self.notes if not RUN.match(note)]
        self.notes = []
        nested, self.orphans = self.orphans, None
        if not nested:
            level.cases.append(Case(name, status, why, notes))
            return
        failed = any(case.status == FAIL for case in nested.cases)
        if failed and status != FAIL:
            self.complain(f"{name} is ok, but a test in it failed")
        if status == FAIL and not failed:
            level.cases.append(Case(name, FAIL, why or "failed as a whole",
                                    notes))
        for case in nested.cases:
            case.name = f"{name}.{case.name}"
            level.cases.append(case)

    def line(self, text):
        stripped = text.strip()
        indent = len(text) - len(text.lstrip(" "))
        if VERSION.match(stripped):
            self.version(indent)
        elif match := PLAN.match(stripped):
            self.plan(indent, match)
        elif match := RESULT.match(stripped):
            self.result(indent, match)
        elif match := BAIL.match(stripped):
            self.complain(f"bailed out: {match[1]}")
        elif (match := TOTAL.match(stripped)) and self.levels and \
                self.levels[-1].indent > indent:
            if self.levels[-1].total is None:
                self.levels[-1].total = int(match[1])
        elif stripped and not NOISE.match(stripped):
            self.notes.append(stripped)

    def finish(self):
        if not self.levels:
            self.complain("no version line, so no tests", self.notes)
            return Results(self.broken)
        self.close_deeper(0)
        if self.orphans:
            self.complain("ended before the result of nested tests")
            nested = self.orphans.cases
        else:
            nested = []
        top = self.close_level()
        return Results(top.cases + nested + self.broken)


def read(text):
    """The results in a text."""
    reader = _Reader()
    for line in text.splitlines():
        reader.line(line.rstrip())
    return reader.finish()


def main(paths):
    results = Results()
    for path in paths or ["-"]:
        if path == "-":
            text = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                text = file.read()
        results += read(text.decode(errors="replace"))
    for line in results.details():
        print(line)
    print(results.summary())
    return 0 if results.good() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
