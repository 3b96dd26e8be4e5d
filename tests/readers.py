# SPDX-License-Identifier: GPL-2.0
"""Converts the output of suites to KTAP.

tests/suites names a reader for each suite.  It takes the output of the suite and
returns KTAP text, which ktap.read judges: so the same rules apply to all output
formats.  A comparison takes the outputs of one suite on the stock and on the
patched kernel.
"""

import re

VERSION = "KTAP version 1"


def plain(text):
    """Output that is KTAP."""
    return [text]


def several(text):
    """Several KTAP documents, one after the other."""
    parts = re.split(r"(?m)^(?=KTAP version 1$|TAP version 13$)", text)
    return [part for part in parts if part.strip()] or [""]


def _render(cases):
    """KTAP of (name, status, why) triples; the caller adds the plan."""
    for number, (name, status, why) in enumerate(cases, 1):
        name = name.replace("#", "no. ")
        if status == "skip":
            yield f"ok {number} {name} # SKIP {why}"
        elif status == "pass":
            yield f"ok {number} {name}"
        else:
            if why:
                yield f"# {why}"
            yield f"not ok {number} {name}"


def unit_tests(text):
    """The kernel's uffd-unit-tests: "Testing NAME... done", and a sum."""
    cases = []
    for part in re.split(r"(?m)^Testing ", text)[1:]:
        name, _, rest = part.partition("... ")
        if re.search(r"^done$", rest, re.M):
            cases.append((name, "pass", ""))
        elif match := re.search(r"skipped \[reason: (.*)\]", rest):
            cases.append((name, "skip", match[1]))
        else:
            said, _, _ = rest.partition("Userfaults unit tests:")
            cases.append((name, "fail", " ".join(said.split())))
    lines = [VERSION, *_render(cases)]
    total = re.search(r"Userfaults unit tests: pass=(\d+), skip=(\d+), "
                      r"fail=(\d+) \(total=(\d+)\)", text)
    if total:
        lines.insert(1, f"1..{total[4]}")
        said = [int(total[i]) for i in (1, 2, 3)]
        seen = [sum(case[1] == status for case in cases)
                for status in ("pass", "skip", "fail")]
        if said != seen:
            lines.append(f"Bail out! the sum says {said}, the lines {seen}")
    return ["\n".join(lines)]


def stress(text):
    """The kernel's uffd-stress: counts its bounces down to 0."""
    skip = re.search(r"(?m)^skip: (.*)", text)
    if skip:
        return [f"{VERSION}\n1..0 # SKIP {skip[1]}"]
    if re.search(r"(?m)^bounces: 0,", text):
        return [f"{VERSION}\n1..1\nok 1 all bounces"]
    said = [f"# {line}" for line in text.splitlines()]
    return ["\n".join([VERSION, "1..1", *said])]


def _rows(text):
    """The columns of the registration table, and its rows by kind of mapping."""
    lines = [line for line in text.splitlines() if "\t" in line]
    kinds = {}
    for line in lines[1:]:
        kinds.setdefault(line.split("\t")[0], []).append(line)
    return lines[0].split("\t") if lines else [], kinds


def table(text):
    """uffd-table: every kind of mapping with every combination of modes."""
    _, kinds = _rows(text)
    cases = [("at least 16 kinds of mapping",
              "pass" if len(kinds) >= 16 else "fail", f"{len(kinds)} kinds")]
    for kind, rows in kinds.items():
        asked = {tuple(row.split("\t")[1:3]) for row in rows}
        good = len(asked) == len(rows) == 14
        cases.append((kind, "pass" if good else "fail",
                      f"{len(rows)} rows, {len(asked)} of them different"))
    return ["\n".join([VERSION, f"1..{len(cases)}", *_render(cases)])]


def same_tests(stock, patched):
    """The same tests pass, and the same are skipped, on both kernels."""
    seen = [{line.split(" ", 2)[2] for line in unit_tests(text)[0].splitlines()
             if line.startswith("ok ")} for text in (stock, patched)]
    lines = [VERSION, "1..1"]
    lines += [f"# only stock: {name}" for name in sorted(seen[0] - seen[1])]
    lines += [f"# only patched: {name}" for name in sorted(seen[1] - seen[0])]
    same = seen[0] == seen[1] and seen[0]
    lines.append(f"{'' if same else 'not '}ok 1 same passes and skips")
    return ["\n".join(lines)]


# Kinds that the series adds, and the kind that they behave like.
JOINED = {"sysv": "memfd_shared", "sysv_rdonly": "memfd_rdonly",
          "ramfs_shared": "memfd_shared", "ramfs_private": "memfd_private",
          "secretmem": "memfd_shared"}


def same_table(stock, patched):
    """Registration has the same results; droppable memory rejects all modes."""
    columns, before = _rows(stock)
    columns_after, after = _rows(patched)
    cases = [("columns", "pass" if columns and columns == columns_after
              else "fail", "the columns differ")]
    for kind in sorted(before.keys() | after.keys()):
        old, new = before.get(kind, []), after.get(kind, [])
        if kind in JOINED:
            like = before.get(JOINED[kind], [])
            wrong = sorted({row.split("\t", 1)[1] for row in like} ^
                           {row.split("\t", 1)[1] for row in new})
            cases.append((f"{kind}: as {JOINED[kind]} on stock",
                          "fail" if wrong or not like else "pass",
                          "; ".join(wrong)))
        elif "droppable" in kind.lower() and new:
            answer = columns.index("errno")
            wrong = [row for row in new if row.split("\t")[answer] == "0"]
            cases.append((f"{kind}: refused", "fail" if wrong else "pass",
                          "; ".join(wrong)))
        else:
            wrong = sorted(set(old) ^ set(new))
            cases.append((f"{kind}: as on stock", "fail" if wrong else "pass",
                          "; ".join(wrong)))
    return ["\n".join([VERSION, f"1..{len(cases)}", *_render(cases)])]


# uffd-unit-tests reads a fault that was queued while UNREGISTER ran. Its COPY
# fails, since the range is no longer registered, and it exits.
UNREGISTER_RACE = re.compile(
    r"\nTesting events(-wp)? on (anon|shmem|shmem-private)\.\.\. "
    r"ERROR: UFFDIO_COPY error: -2 \(errno=2, @\S+\)\n*\Z")
UNREGISTER_FIX = "fixes/0005-mm-userfaultfd-disarm-before-waking-in-UNREGISTER.patch"


def known_fault(kernel, reader, text, status):
    """Which known bug ended a suite, so that it may run again, or None.

    Only if nothing else failed, and only on the unmodified kernel, which still
    has the bug.
    """
    if kernel != "stock" or reader != "unit-tests" or status != "exit 1":
        return None
    match = UNREGISTER_RACE.search(text)
    if not match or re.search(r"(?m)^not ok ",
                              unit_tests(text[:match.start() + 1])[0]):
        return None
    return f"of the unmodified kernel that {UNREGISTER_FIX} fixes"


READERS = {"ktap": plain, "kunit": several, "unit-tests": unit_tests,
           "stress": stress, "table": table}
COMPARISONS = {"same-tests": same_tests, "same-table": same_table}
