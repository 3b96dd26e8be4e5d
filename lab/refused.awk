# Prints the options whose value in a .config is not the requested one:
#
#	awk -f lab/refused.awk result=CONFIG FRAGMENT... CONFIG
#
# The last fragment that sets an option determines its requested value.

function requested(line) {
	if (line ~ /^CONFIG_[A-Za-z0-9_]+=/) {
		name = substr(line, 1, index(line, "=") - 1)
		return substr(line, index(line, "=") + 1)
	}
	if (line ~ /^# CONFIG_[A-Za-z0-9_]+ is not set/) {
		name = $2
		return "n"
	}
	name = ""
}
{ value = requested($0) }
!name { next }
FILENAME == result { got[name] = value; next }
{ asked[name] = value; by[name] = FILENAME }
END {
	for (name in asked) {
		have = name in got ? got[name] : "n"
		if (have == asked[name])
			continue
		sub(/.*\//, "", by[name])
		printf "%s=%s of lab/config/%s became %s\n", name, asked[name], by[name], have
	}
}
