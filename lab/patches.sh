# shellcheck shell=bash
# Common functions for the patches: they read patches/series, which describes its
# format at its top, and apply one step to a directory. Sourced after lib.sh.
#
# kernel/overlay and kernel/stages have the files that are the same on all bases;
# kernel/BASE has the patches, and overlay/ and stages/ for files of that base.

own=kernel/$BASE
patches=$top/$own/patches
source=$out/source

base=			# the version that the patches were made on
series=()		# names of the series, in order
last_of=()		# for each of them, the number of its last step
steps=()		# patches, in order, as SERIES/NAME
declare -A steps_of=()	# overlay file -> the numbers of the steps that write it
declare -A staged=()	# every kernel file that the steps touch

read_series() {
	local line word path number=0 adding

	[ -e "$patches/series" ] || die "$own/patches/series is missing"
	while IFS= read -r line || [ -n "$line" ]; do
		number=$((number + 1))
		case $line in
		'# base: '*) base=${line#'# base: '} ;;
		'['*']')
			line=${line#[}
			series+=("${line%]}")
			[ -d "$patches/${series[-1]}" ] ||
				die "$own/patches/series:$number: there is no directory $own/patches/${series[-1]}"
			continue
			;;
		esac
		adding=
		for word in ${line%%#*}; do
			if [ "$word" = + ]; then
				[ ${#steps[@]} -gt 0 ] || die "$own/patches/series:$number: '+' before the first patch"
				adding=yes
			elif [ -z "$adding" ]; then
				[ ${#series[@]} -gt 0 ] || die "$own/patches/series:$number: a patch before the first [SERIES]"
				[ -e "$patches/${series[-1]}/$word" ] ||
					die "$own/patches/series:$number: $own/patches/${series[-1]}/$word does not exist"
				steps+=("${series[-1]}/$word")
				# shellcheck disable=SC2034 # lab/series and lab/steps use it
				last_of[${#series[@]}-1]=$((${#steps[@]} - 1))
			else
				add_files "$word"
			fi
		done
	done <"$patches/series"
	[ -n "$base" ] || die "$own/patches/series: missing first line '# base: VERSION'"

	while IFS= read -r path; do
		[ -n "${steps_of[$path]-}" ] || ! required overlay "$path" ||
			die "$(located overlay "$path") belongs to no step: add it to a patch in $own/patches/series"
	done < <(files_in overlay)
	while IFS= read -r path; do
		grep -qxF "$path" < <(printf '%s\n' "${steps[@]}") ||
			die "$own/patches/$path is not listed in $own/patches/series"
	done < <(cd "$patches" && find . -name '*.patch' -printf '%P\n' | sort)
	while IFS= read -r path; do
		[ -n "$(steps_that_stage "${path%%/*}" "${path#*/}")" ] || ! required stages "$path" ||
			die "$(located stages "$path") is used by no step"
	done < <(files_in stages)
}

# required overlay|stages PATH: must a step use this file? The series of 6.12 use
# all shared files, those of other bases need not.
required() {
	[ "$BASE" = 6.12 ] || [ -e "$top/$own/$1/$2" ]
}

# files_in overlay|stages [PATH]: the files of this base, or those at PATH.
files_in() {
	local dir
	for dir in kernel "$own"; do
		[ ! -e "$top/$dir/$1/${2-}" ] || (cd "$top/$dir/$1" && find "./${2-}" -type f)
	done | sed 's,^\./,,' | sort -u
}

# located overlay|stages PATH: where it is, in the base's own directory first.
located() {
	if [ -e "$top/$own/$1/$2" ]; then echo "$own/$1/$2"; else echo "kernel/$1/$2"; fi
}

# add_files PATH: an overlay file or directory belongs to the last step.
add_files() {
	local path files

	files=$(files_in overlay "${1%/}")
	[ -n "$files" ] || die "$own/patches/series:$number: $(located overlay "$1") does not exist"
	while IFS= read -r path; do
		steps_of[$path]+=" $((${#steps[@]} - 1))"
	done <<<"$files"
}

# The steps of a series that write an earlier version of an overlay file.
steps_that_stage() {
	local number
	for number in ${steps_of[$2]+${steps_of[$2]% *}}; do
		[ "${steps[number]%%/*}" != "$1" ] || echo "$number"
	done
}

# version_at PATH NUMBER: prints the location of what step NUMBER writes to the
# overlay file PATH. The last such step writes the overlay file itself.
version_at() {
	if [ "$2" -eq "${steps_of[$1]##* }" ]; then
		located overlay "$1"
	else
		located stages "${steps[$2]%%/*}/$1"
	fi
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
	for path in "${!steps_of[@]}"; do
		staged[$path]=yes
	done
}

# apply_step DIR NUMBER: applies a step to DIR, which has all earlier steps.
apply_step() {
	local dir=$1 step=${steps[$2]} path version why
	local report=$out/log/apply.log

	for path in "${!steps_of[@]}"; do
		[[ "${steps_of[$path]} " == *" $2 "* ]] || continue
		if [ -e "$source/$path" ]; then
			die "$(located overlay "$path") would overwrite a file of the kernel: make it a patch"
		fi
		version=$top/$(version_at "$path" "$2")
		[ -e "$version" ] ||
			die "$step writes an earlier version of $path, which is not in ${version%/"$path"}"
		copy "$version" "$dir/$path"
	done

	grep -qE '^(diff --git|---) ' "$patches/$step" || return 0
	# Without fuzz, and not as part of the enclosing repository.
	if ! GIT_CEILING_DIRECTORIES=$(dirname "$dir") git -C "$dir" apply -v --whitespace=nowarn \
		"$patches/$step" >"$report" 2>&1; then
		why=$(sed -nE 's/^error: patch failed: (.*):([0-9]+)$/\1, line \2/p; T; q' "$report")
		[ -n "$why" ] || why=$(sed -n 's/^error: //p; T; q' "$report")
		die "$own/patches/$step does not apply to linux $(version_of "$source"): $why"
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
	for path in "${!steps_of[@]}"; do
		cmp -s "$top/$(located overlay "$path")" "$1/$path" ||
			die "$(located overlay "$path") is edited by a patch: edit the file itself"
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
