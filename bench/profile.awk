# Prints the profile of a workload, each line after its sort key and a tab:
#
#	awk -F '\t' -v name=WORKLOAD -f bench/profile.awk \
#		stock.tsv patched.tsv stock.counts patched.counts
#
# The first two files are the output of bench/workloads.c, the others that of
# bench/profile.c.

/^#/ { next }
FILENAME ~ /stock.tsv$/ && $1 == name { units += $4 }
FILENAME ~ /\.tsv$/ { next }
$1 == "(lock)" {
	held[FILENAME ~ /stock/] = $3 ? $2 / $3 : 0
	next
}
FILENAME ~ /stock.counts$/ { stock[$1] = $2; all[$1] }
FILENAME ~ /patched.counts$/ { patched[$1] = $2; all[$1] }
END {
	for (f in all) {
		s = stock[f] / units
		p = patched[f] / units
		S += s
		P += p
		d = p - s
		printf "%.6f\t%-36s %10.1f %10.1f %+10.1f\n",
			d < 0 ? -d : d, f, s, p, d
	}
	printf "1e12\t%-36s %10s %10s %10s\n",
		"function", "stock", "patched", "change"
	printf "1e11\t%-36s %10.1f %10.1f %+10.1f\n",
		"(all)", S, P, P - S
	printf "-1\t%-36s %10.1f %10.1f %+10.1f\n",
		"page table lock, held once", held[1], held[0],
		held[0] - held[1]
}
