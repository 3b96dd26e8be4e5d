#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of the KTAP reader, mostly of output that must not count as a pass.

Prints KTAP itself; tests/suites runs it as a suite.
"""

import sys

import ktap

# Name, text, (passed, failed, skipped), a word of the first failure or None.
CASES = [
    ("kselftest", """\
TAP version 13
1..3
# Starting 3 tests from 2 test cases.
#  RUN           global.one ...
#            OK  global.one
ok 1 global.one
chatter of the program under test
not ok 2 global.two
ok 3 global.three # SKIP no such memory
# FAILED: 2 / 3 tests passed.
# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
""", (1, 1, 1), None),
    ("KUnit, nested", """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: userfaultfd
    1..2
    ok 1 first
    not ok 2 second
# userfaultfd: pass:1 fail:1 skip:0 total:2
# Totals: pass:1 fail:1 skip:0 total:2
not ok 1 userfaultfd
""", (1, 1, 0), None),
    ("KUnit, parameters without a plan", """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: userfaultfd
    1..2
        KTAP version 1
        # Subtest: masks
        ok 1 anon
        ok 2 shmem
    # masks: pass:2 fail:0 skip:0 total:2
    ok 1 masks
        KTAP version 1
        # Subtest: one
        ok 1 only
    ok 2 one
ok 1 userfaultfd
""", (3, 0, 0), None),
    ("KUnit, parameters that ended early", """\
KTAP version 1
1..1
    KTAP version 1
    1..1
        KTAP version 1
        ok 1 anon
        ok 2 shmem
    ok 1 masks
ok 1 userfaultfd
""", (2, 1, 0), "1 results planned, 2 seen"),
    ("two spaces of indentation", """\
KTAP version 1
1..1
  KTAP version 1
  1..1
  ok 1 inner
ok 1 outer
""", (1, 0, 0), None),
    ("all skipped by the plan", """\
TAP version 13
1..0 # SKIP no userfaultfd
""", (0, 0, 1), None),
    ("a skip without a name", """\
TAP version 13
1..1
ok 1 # SKIP not here
""", (0, 0, 1), None),
    ("an expected failure is no pass", """\
TAP version 13
1..2
not ok 1 a # XFAIL known
ok 2 b # XPASS surprise
""", (0, 1, 1), None),
    ("a failure marked as skipped", """\
TAP version 13
1..1
not ok 1 a # SKIP sure
""", (0, 1, 0), None),
    ("a time-out by directive", """\
TAP version 13
1..1
ok 1 a # TIMEOUT 45 s
""", (0, 1, 0), None),
    ("empty", "", (0, 1, 0), "no version"),
    ("chatter only", "hello\nworld\n", (0, 1, 0), "no version"),
    ("no version line", "1..1\nok 1 a\n", (0, 3, 0), "without a version"),
    ("version line only", "TAP version 13\n", (0, 2, 0), "no plan"),
    ("no plan", "TAP version 13\nok 1 a\n", (1, 1, 0), "no plan"),
    ("no tests", "TAP version 13\n1..0\n", (0, 1, 0), "no tests"),
    ("cut short", "TAP version 13\n1..5\nok 1 a\nok 2 b\nok 3 c\n",
     (3, 1, 0), "5 results planned, 3 seen"),
    ("cut in the middle of a line", "TAP version 13\n1..2\nok 1 a\nok",
     (2, 1, 0), "no number"),
    ("more than planned", "TAP version 13\n1..1\nok 1 a\nok 2 b\n",
     (2, 1, 0), "1 results planned, 2 seen"),
    ("a number twice", "TAP version 13\n1..2\nok 1 a\nok 1 b\n",
     (2, 1, 0), "number 1 where 2"),
    ("a gap in the numbers", "TAP version 13\n1..2\nok 1 a\nok 3 b\n",
     (2, 1, 0), "number 3 where 2"),
    ("no number", "TAP version 13\n1..1\nok a\n", (1, 1, 0), "no number"),
    ("two plans", "TAP version 13\n1..1\nok 1 a\n1..1\n",
     (1, 1, 0), "second plan"),
    ("two versions", "TAP version 13\n1..1\nok 1 a\nTAP version 13\n",
     (1, 1, 0), "second version"),
    ("bail out", "TAP version 13\n1..1\nok 1 a\nBail out! lost it\n",
     (1, 1, 0), "lost it"),
    ("short plan of nested tests", """\
KTAP version 1
1..1
    KTAP version 1
    1..3
    ok 1 a
ok 1 outer
""", (1, 1, 0), "3 results planned, 1 seen"),
    ("nested tests end early", """\
KTAP version 1
1..1
    KTAP version 1
    1..2
    ok 1 a
""", (1, 4, 0), "2 results planned, 1 seen"),
    ("ok around a failure", """\
KTAP version 1
1..1
    KTAP version 1
    1..1
    not ok 1 a
ok 1 outer
""", (0, 2, 0), "a test in it failed"),
    ("not ok around passes", """\
KTAP version 1
1..1
    KTAP version 1
    1..1
    ok 1 a
not ok 1 outer
""", (1, 1, 0), None),
    ("a result glued to other output is lost",
     "TAP version 13\n1..1\nprogress... ok 1 a\n", (0, 2, 0),
     "1 results planned, 0 seen"),
]

# Name, text, the lines shown of it.
SHOWN = [
    ("the notes of a failed test, and of no other", """\
TAP version 13
1..3
# Starting 3 tests from 2 test cases.
#  RUN           global.one ...
# one: 5 rounds
#            OK  global.one
ok 1 global.one
#  RUN           global.two ...
# two.c:7:two:Expected 0 (0) == answer (42)
answer: the program's own words
# two: Test terminated by assertion
#          FAIL  global.two
not ok 2 global.two
# three: nothing to say
ok 3 global.three # SKIP no such memory
# FAILED: 2 / 3 tests passed.
# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
""", """\
failed: global.two
    # two.c:7:two:Expected 0 (0) == answer (42)
    answer: the program's own words
    # two: Test terminated by assertion
skipped: global.three: no such memory
"""),
    ("KUnit, nested", """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: userfaultfd
    # module: userfaultfd_kunit
    1..2
    ok 1 first
    # second: EXPECTATION FAILED at mm/userfaultfd_kunit.c:5
    Expected a == 1, but
        a == 2 (0x2)
    not ok 2 second
# userfaultfd: pass:1 fail:1 skip:0 total:2
# Totals: pass:1 fail:1 skip:0 total:2
not ok 1 userfaultfd
""", """\
failed: userfaultfd.second
    # second: EXPECTATION FAILED at mm/userfaultfd_kunit.c:5
    Expected a == 1, but
    a == 2 (0x2)
"""),
    ("a test that ended early", """\
TAP version 13
1..2
# one: well
ok 1 one
#  RUN           two ...
# half of two
""", """\
failed: KTAP: 2 results planned, 1 seen
    #  RUN           two ...
    # half of two
"""),
    ("no tests at all", "sh: uffd-nonesuch: not found\n", """\
failed: KTAP: no version line, so no tests
    sh: uffd-nonesuch: not found
"""),
    ("ten lines are shown",
     "TAP version 13\n1..1\n" + "".join(f"# {i}\n" for i in range(10)) +
     "not ok 1 a\n",
     "failed: a\n" + "".join(f"    # {i}\n" for i in range(10))),
    ("of more, the first and the last",
     "TAP version 13\n1..1\n" + "".join(f"# {i}\n" for i in range(100)) +
     "not ok 1 a\n",
     "failed: a\n" + "".join(f"    # {i}\n" for i in range(5)) +
     "    ... 91 lines ...\n" +
     "".join(f"    # {i}\n" for i in range(96, 100))),
    ("a long line",
     "TAP version 13\n1..1\n# " + "x" * 1000 + "\nnot ok 1 a\n",
     "failed: a\n    # " + "x" * 195 + "...\n"),
]

# Name, text, known failures, the lines shown.
KNOWN = [
    ("a known failure is skipped, with its reason",
     "TAP version 13\n1..2\nok 1 a.b\nnot ok 2 a.c\n", {"a.c": "it breaks"},
     "skipped: a.c: known fault: it breaks\n"),
    ("a pattern", "TAP version 13\n1..2\nnot ok 1 a.c\nnot ok 2 b.c\n",
     {"*.c": "it breaks"},
     "skipped: a.c: known fault: it breaks\n"
     "skipped: b.c: known fault: it breaks\n"),
    ("another failure", "TAP version 13\n1..1\nnot ok 1 a.cd\n",
     {"*.c": "it breaks"}, "failed: a.cd\n"),
    ("a known failure that passes", "TAP version 13\n1..1\nok 1 a.c\n",
     {"*.c": "it breaks"}, "failed: a.c: passes: remove it from the list\n"),
    ("a known failure that is skipped",
     "TAP version 13\n1..1\nok 1 a.c # SKIP no such memory\n",
     {"*.c": "it breaks"}, "skipped: a.c: no such memory\n"),
    ("an early end", "TAP version 13\n1..2\nnot ok 1 a.c\n",
     {"*.c": "it breaks"},
     "failed: KTAP: 2 results planned, 1 seen\n"
     "skipped: a.c: known fault: it breaks\n"),
]


def show(number, name, results, wanted):
    """Prints the result of a test of lines that are shown."""
    shown = "".join(line + "\n" for line in results.details())
    good = shown == wanted
    if not good:
        print("".join(f"# {line}\n" for line in shown.splitlines()), end="")
    print(f"{'' if good else 'not '}ok {number} shown: {name}")
    return good


def main():
    failed = 0
    print(f"KTAP version 1\n1..{len(CASES) + len(SHOWN) + len(KNOWN)}")
    for number, (name, text, numbers, word) in enumerate(CASES, 1):
        results = ktap.read(text)
        complaints = [case.why for case in results if case.name == "KTAP"]
        good = results.numbers() == numbers and (
            word in complaints[0] if word and complaints
            else not word and not complaints)
        if not good:
            failed += 1
            print(f"# {results.numbers()}, wanted {numbers}; {complaints}")
        print(f"{'' if good else 'not '}ok {number} {name}")
    for number, (name, text, wanted) in enumerate(SHOWN, len(CASES) + 1):
        failed += not show(number, name, ktap.read(text), wanted)
    for number, (name, text, known, wanted) in enumerate(
            KNOWN, len(CASES) + len(SHOWN) + 1):
        results = ktap.read(text).expecting(known, "the list")
        failed += not show(number, name, results, wanted)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
