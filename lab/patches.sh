# shellcheck shell=bash
# Functions for the patch series: reading kernel/patches/series, whose format is
# described there, and applying its steps to a directory. Sourced after lib.sh.

patches=$top/kernel/patches
overlay=$top/kernel/overlay
source=$out/source

base=			# the version that the series is based on
steps=()		# patch names, in order
declare -A step_of=()	# overlay file -> number of the step that adds it
declare -A staged=()	# all kernel files that the steps touch

read_series() {
	local line word path number=0

	[ -e "$patches/series" ] || die "kernel/patches/series is missing"
	while IFS= read -r line || [ -n "$line" ]; do
		number=$((number + 1))
		case $line in
		'# base: '*) base=${line#'# base: '} ;;
		esac
		adding=
		for word in ${line%%#*}; do
			if [ "$word" = + ]; then
				[ ${#steps[@]} -gt 0 ] || die "kernel/patches/series:$number: '+' before the first patch"
				adding=yes
			elif [ -z "$adding" ]; then
				[ -e "$patches/$word" ] || die "kernel/patches/series:$number: kernel/patches/$word does not exist"
				steps+=("$word")
			elif [ ! -e "$overlay/$word" ]; then
				die "kernel/patches/series:$number: kernel/overlay/$word does not exist"
			else
				while IFS= read -r path; do
					[ -z "${step_of[$path]-}" ] ||
						die "kernel/patches/series:$number: $path was already added by ${steps[step_of[$path]]}"
					step_of[$path]=$((${#steps[@]} - 1))
				done < <(cd "$overlay" && find "${word%/}" -type f)
			fi
		done
	done <"$patches/series"
	[ -n "$base" ] || die "kernel/patches/series: missing first line '# base: VERSION'"

	[ -d "$overlay" ] || return 0
	while IFS= read -r path; do
		[ -n "${step_of[$path]-}" ] ||
			die "kernel/overlay/$path belongs to no step: add it to a patch in kernel/patches/series"
	done < <(cd "$overlay" && find . -type f -printf '%P\n' | sort)
	while IFS= read -r path; do
		case $path in
		*.patch)
			grep -qxF "$path" < <(printf '%s\n' "${steps[@]}") ||
				die "kernel/patches/$path is not listed in kernel/patches/series" ;;
		esac
	done < <(cd "$patches" && find . -type f -printf '%P\n' | sort)
}

# The message of a step: mail headers and text, without the diff.
message_of() {
	sed -E '/^(---$|diff --git |--- [^ ])/,$d' "$patches/$1"
}

# The notes of a step: the text between '---' and the diff. It is part of the
# mail, but not of the commit message.
notes_of() {
	sed -E '1,/^---$/d; /^(diff --git |--- [^ ])/,$d' "$patches/$1"
}

# The kernel files that a step edits, makes or removes.
files_of() {
	sed -nE 's,^(--- a|\+\+\+ b)/([^\t]*).*,\2,p; s,^rename (from|to) (.*),\2,p' "$patches/$1" | sort -u
}

# stage_sources DIR: copies the kernel files that the series edits to DIR.
stage_sources() {
	local step path

	for step in "${steps[@]}"; do
		while IFS= read -r path; do
			staged[$path]=yes
			[ ! -e "$source/$path" ] || copy "$source/$path" "$1/$path"
		done < <(files_of "$step")
	done
	for path in "${!step_of[@]}"; do
		staged[$path]=yes
	done
}

# apply_step DIR NUMBER: applies a step to DIR, which has all earlier steps.
apply_step() {
	local dir=$1 step=${steps[$2]} path why
	local report=$out/log/apply.log

	for path in "${!step_of[@]}"; do
		[ "${step_of[$path]}" -eq "$2" ] || continue
		if [ -e "$source/$path" ] || [ -e "$dir/$path" ]; then
			die "kernel/overlay/$path would overwrite a file of the kernel: make it a patch"
		fi
		copy "$overlay/$path" "$dir/$path"
	done

	grep -qE '^(diff --git|---) ' "$patches/$step" || return 0
	# Without fuzz, and not as part of the enclosing repository.
	if ! GIT_CEILING_DIRECTORIES=$(dirname "$dir") git -C "$dir" apply -v --whitespace=nowarn \
		"$patches/$step" >"$report" 2>&1; then
		why=$(sed -nE 's/^error: patch failed: (.*):([0-9]+)$/\1, line \2/p; T; q' "$report")
		[ -n "$why" ] || why=$(sed -n 's/^error: //p; T; q' "$report")
		die "kernel/patches/$step does not fit linux $(version_of "$source"): $why"
	fi
}

# sync_tree STAGE TREE < PATHS: updates these paths of TREE from STAGE, or from
# out/source if no step touches them. Unchanged files keep their timestamps.
sync_tree() {
	local path want

	while IFS= read -r path; do
		want=$1/$path
		[ -n "${staged[$path]-}" ] || want=$source/$path
		if [ ! -e "$want" ]; then
			rm -f "$2/$path"
			rmdir -p --ignore-fail-on-non-empty "$(dirname "$2/$path")" 2>/dev/null || :
		elif ! cmp -s "$want" "$2/$path" || [ "$(stat -c %a "$want")" != "$(stat -c %a "$2/$path")" ]; then
			copy "$want" "$2/$path"
		fi
	done
}

# No patch may change an overlay file.
check_overlay() {
	local path
	for path in "${!step_of[@]}"; do
		cmp -s "$overlay/$path" "$1/$path" ||
			die "kernel/overlay/$path is edited by a patch: edit the file itself"
	done
}

copy() {
	mkdir -p "$(dirname "$2")"
	cp --preserve=mode "$1" "$2.lab-new"
	mv "$2.lab-new" "$2"
}

# The Debian version of the source of a tree.
version_of() {
	cut -d' ' -f2 "$1/.lab-source"
}

# The hash of a source tree: modes, paths, contents, links, but not the stamps
# of the lab.
tree_hash() {
	(
		cd "$1"
		find . -path './.lab-*' -prune -o -type f -printf '%m %p\n' -o -type l -printf '%l %p\n' | sort
		find . -path './.lab-*' -prune -o -type f -print0 | sort -z | xargs -0 -n 2000 -P "$(nproc)" sha256sum | sort
	) | sha256sum | cut -c1-64
}
