#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of the readers: each output must be counted correctly.

Prints KTAP; tests/suites runs it as a suite.
"""

import sys

import ktap
import readers

SUM = "Userfaults unit tests: pass={}, skip={}, fail={} (total={})\n"
UNIT = """\
Testing UFFDIO_API (with syscall)... done
Testing zeropage on anon... a warning goes here
done
Testing poison on hugetlb... skipped [reason: no huge pages]
"""
BROKEN = UNIT + "Testing move on anon... failed [reason: it stayed]\n"
# The output of a failed KVM test, from tests/kvm-tests
KVM = "Testing demand_paging_test -b 4M -s shmem -u MINOR... done\n" \
    "Testing set_memory_region_test 2... failed with 254: ==== Test " \
    "Assertion Failure ====\n  lib/kvm_util.c:7: ret == 0\n  done\n"
COUNT = """\
nr_pages: 8192, nr_pages_per_cpu: 4096
bounces: 1, mode: rnd racing poll, userfaults: 10 missing
bounces: 0, mode: poll, userfaults: 10 missing
"""


def table(droppable="22", anon="0", sysv="0", rows=14):
    """A registration table of 16 kinds."""
    text = "kind\tmodes\tasync\terrno\tioctls\n"
    for kind in ["droppable", "anon", "sysv", "memfd_shared"] + \
            [f"kind{i}" for i in range(12)]:
        errno = {"droppable": droppable, "anon": anon,
                 "sysv": sysv}.get(kind, "0")
        for row in range(rows):
            text += f"{kind}\tm{row % 7}\t{row // 7}\t{errno}\tff\n"
    return text


# Reader, its input, (passed, failed, skipped).
CASES = [
    ("unit-tests", [UNIT + SUM.format(2, 1, 0, 3)], (2, 0, 1)),
    ("unit-tests", [BROKEN + SUM.format(2, 1, 1, 4)], (2, 1, 1)),
    ("unit-tests", [UNIT], (2, 1, 1)),
    ("unit-tests", [UNIT + "Testing fork on shmem... "], (2, 2, 1)),
    ("unit-tests", [UNIT + SUM.format(3, 0, 0, 3)], (2, 1, 1)),
    ("unit-tests", [""], (0, 2, 0)),
    ("unit-tests", [KVM + SUM.format(1, 0, 1, 2)], (1, 1, 0)),
    ("unit-tests", [KVM + "Testing guest_memfd_test... "], (1, 3, 0)),
    ("stress", [COUNT], (1, 0, 0)),
    ("stress", [COUNT[:COUNT.index("bounces: 0")]], (0, 2, 0)),
    ("stress", ["skip: Skipping userfaultfd... not enough hugepages\n"],
     (0, 0, 1)),
    ("kunit", ["KTAP version 1\n1..1\nok 1 a\n" * 2], (2, 0, 0)),
    ("kunit", ["KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n1..2\nok 1 b\n"],
     (2, 1, 0)),
    ("kunit", [""], (0, 1, 0)),
    ("table", [table()], (17, 0, 0)),
    ("table", [table(rows=13)], (1, 16, 0)),
    ("table", [""], (0, 1, 0)),
    ("same-table", [table("0"), table()], (17, 0, 0)),
    ("same-table", [table("0"), table("0")], (16, 1, 0)),
    ("same-table", [table("0"), table(anon="22")], (16, 1, 0)),
    ("same-table", [table("0"), ""], (0, 17, 0)),
    ("same-table", [table("0", sysv="22"), table()], (17, 0, 0)),
    ("same-table", [table("0", sysv="22"), table(sysv="22")], (16, 1, 0)),
    ("same-tests", [UNIT, UNIT], (1, 0, 0)),
    ("same-tests", [UNIT, UNIT.replace("done", "skipped [reason: x]", 1)],
     (0, 1, 0)),
    ("same-tests", ["", ""], (0, 1, 0)),
]


# Reader, kernel, output and status, whether it may run again.
RACE = UNIT + "Testing events on anon... " \
    "ERROR: UFFDIO_COPY error: -2 (errno=2, @uffd-common.c:617)\n"
RESET = "KTAP version 1\n1..3\nok 1 a\n" \
    "# vmm: the guest reset its machine\nnot ok 2 b\n"
AGAIN = [
    ("unit-tests", "stock", RACE, "exit 1", True),
    ("unit-tests", "stock", RACE.replace("events on anon", "events-wp on shmem"), "exit 1",
     True),
    ("unit-tests", "patched", RACE, "exit 1", False),
    ("unit-tests", "debug", RACE, "exit 1", False),
    ("unit-tests", "stock", RACE, "killed by signal 9", False),
    ("unit-tests", "stock", RACE, None, False),
    ("unit-tests", "stock", RACE.replace("events on", "move on"), "exit 1", False),
    ("unit-tests", "stock", RACE.replace("error: -2", "error: -14"), "exit 1", False),
    ("unit-tests", "stock", RACE.replace("COPY", "ZEROPAGE"), "exit 1", False),
    ("unit-tests", "stock", RACE + "Testing poison on anon... ", "exit 1", False),
    ("unit-tests", "stock", RACE + SUM.format(2, 1, 1, 4), "exit 1", False),
    ("unit-tests", "stock", BROKEN + RACE, "exit 1", False),
    ("unit-tests", "stock", BROKEN + SUM.format(2, 1, 1, 4), "exit 1", False),
    ("unit-tests", "stock", UNIT, "exit 1", False),
    ("unit-tests", "stock", "", "exit 1", False),
    ("ktap", "patched", RESET, None, False),
    ("ktap", "stock", RESET, "exit 1", False),
]

# Reader, its input, the lines shown of the first failure.
SHOWN = [
    ("unit-tests", [BROKEN + SUM.format(2, 1, 1, 4)],
     ["failed: move on anon", "    # failed [reason: it stayed]"]),
    ("unit-tests", [UNIT + "Testing fork on shmem... "],
     ["failed: fork on shmem", "failed: KTAP: no plan"]),
    ("same-tests", [UNIT, UNIT.replace("poison", "fork")],
     ["failed: same passes and skips",
      "    # only stock: poison on hugetlb # SKIP no huge pages",
      "    # only patched: fork on hugetlb # SKIP no huge pages"]),
    ("stress", [COUNT[:COUNT.index("bounces: 0")] + "ERROR: no memory\n"],
     ["failed: KTAP: 1 results planned, 0 seen",
      "    # nr_pages: 8192, nr_pages_per_cpu: 4096",
      "    # bounces: 1, mode: rnd racing poll, userfaults: 10 missing",
      "    # ERROR: no memory"]),
]


def main():
    failed = 0
    print(f"KTAP version 1\n1..{len(CASES) + len(SHOWN) + len(AGAIN)}")
    for number, (name, texts, numbers) in enumerate(CASES, 1):
        read = {**readers.READERS, **readers.COMPARISONS}[name]
        results = ktap.Results()
        for document in read(*texts):
            results += ktap.read(document)
        good = results.numbers() == numbers
        if not good:
            failed += 1
            print(f"# {results.numbers()}, wanted {numbers}: {list(results)}")
        print(f"{'' if good else 'not '}ok {number} {name}")
    for number, (name, texts, wanted) in enumerate(SHOWN, len(CASES) + 1):
        read = {**readers.READERS, **readers.COMPARISONS}[name]
        shown = [line for document in read(*texts)
                 for line in ktap.read(document).details()]
        good = shown[:len(wanted)] == wanted
        if not good:
            failed += 1
            print("\n".join(f"# shown: {line}" for line in shown))
        print(f"{'' if good else 'not '}ok {number} shown: {name}")
    for number, (reader, kernel, text, status, again) in enumerate(
            AGAIN, len(CASES) + len(SHOWN) + 1):
        good = again == bool(readers.known_fault(kernel, reader, text, status))
        failed += not good
        print(f"{'' if good else 'not '}ok {number} "
              f"{'again' if again else 'not again'}: {kernel}, {status}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
