# Prints the table of demo/guest, and succeeds if every guest resumed correctly:
#
#	awk -v last=LINE -v kernel=NAME -f demo/guest.awk MARKS ROWS
#
# LINE is the last console line before the save, MARKS the instruction counts of
# lab/count.c, ROWS the rows.tsv of demo/restores.

function field(name) { return $(column[name]) }
# The counts are read first: the mark at the start of each attempt, then the
# mark of the guest's first output.
FILENAME ~ /marks$/ {
	if ($1 == "restore")
		begin[++attempts] = $2
	else if (attempts && !(attempts in first))
		first[attempts] = $2
	next
}
FNR == 1 {
	for (i = 1; i <= NF; i++)
		column[$i] = i
	next
}
# Did the guest continue with the next tick?
function counter() {
	if (!match(field("first"), /tick [0-9]+/))
		return "lost"
	next_tick = substr(field("first"), RSTART + 5, RLENGTH - 5) + 0
	return tick " -> " next_tick (next_tick == tick + 1 ? "" : " WRONG")
}
# Was its memory intact?
function pattern() {
	return field("last") ~ /pass 1, [0-9]+ pages checked, 0 wrong$/ ? "intact" : "BROKEN"
}
# A missing measurement is shown as "?" and makes the row a failure.
function measured() {
	return field("attempt") in first && field("first_ns") != "" &&
		($2 == "at once" || field("alive_faults") != "")
}
function faults() {
	return field("alive_faults") == "" ? "?" : field("alive_faults")
}
function loaded() {
	if (field("alive_faults") == "")
		return "?"
	return sprintf("%.1f %%", 100 * (field("alive_demand") + field("alive_background") + field("alive_found")) / field("pages"))
}
function instructions() {
	if (!(field("attempt") in first))
		return "?"
	return sprintf("%.1f M", (first[field("attempt")] - begin[field("attempt")]) / 1e6)
}
BEGIN {
	FS = "\t"
	match(last, /tick [0-9]+/)
	tick = substr(last, RSTART + 5, RLENGTH - 5) + 0
	head = "%-11s  %-18s  %6s %9s %7s %8s  %9s %10s  %-8s %s\n"
	printf "%-31s  until the guest's first output      all memory\n", ""
	printf head, "memory", "restored", "ms", "instr.", "faults", "loaded", "on demand", "background", "counter", "pattern"
}
{
	rows++
	if (field("status") == 3 && kernel != "patched") {
		printf "%-11s  %-18s  %s\n", $1, $2, "not supported by this kernel"
		good++
		next
	}
	if (field("status")) {
		why = field("error")
		sub(/^vmm: /, "", why)
		printf "%-11s  %-18s  FAILED: %s\n", $1, $2, why
		next
	}
	once = $2 == "at once"
	good += counter() !~ /lost|WRONG/ && pattern() == "intact" && measured()
	printf head, $1, $2, sprintf("%.0f", field("first_ns") / 1e6),
		instructions(), once ? "-" : faults(), once ? "100 %" : loaded(),
		once ? "-" : field("demand"), once ? "-" : field("background"),
		counter(), pattern()
}
END {
	printf "\n%d of %d guests resumed correctly\n", good, rows
	exit !(rows && good == rows)
}
