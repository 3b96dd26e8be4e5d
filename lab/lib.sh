# shellcheck shell=bash
# Common functions of the lab's programs, sourced by each of them: locations,
# messages, long steps with progress, the lock of out/, and error exits. Messages
# go to stderr: stdout is for the output of a program.

set -Eeuo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
umask 022

me=${0##*/}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# The kernel version that is built, and where: the default in out/, others in
# out/BASE/.
export BASE=${BASE:-6.12}
out=$top/out
[ "$BASE" = 6.12 ] || out=$top/out/$BASE
cache=${XDG_CACHE_HOME:-${HOME:-$out}/.cache}/modular-userfaultfd

# Variables of the calling make, or of a kernel developer's shell, that would
# affect the kernel's makefiles.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES ARCH SUBARCH CROSS_COMPILE LLVM \
	KBUILD_OUTPUT KBUILD_EXTMOD KCONFIG_CONFIG KCONFIG_ALLCONFIG KCFLAGS \
	KCPPFLAGS KAFLAGS INSTALL_MOD_PATH INSTALL_HDR_PATH

say() {
	printf '%s: %s\n' "$me" "$*" >&2
}

# Exit status of a program that has reported its failure: callers stay silent.
said=3

die() {
	say "$*"
	exit "$said"
}

case $BASE in
6.12 | 7.3) ;;
*) die "BASE=$BASE: must be 6.12 or 7.3" ;;
esac

# --- Exit: ends the running job and removes incomplete files ----------------

job=
leftovers=()

unexpected() {
	[ "$1" -eq "$said" ] || [ "$1" -ge 128 ] || say "unexpected failure in $2"
}

leave() {
	local status=$?
	trap '' INT TERM HUP
	if [ -n "$job" ]; then
		kill -TERM -- "-$job" "$job" 2>/dev/null || :
		wait "$job" 2>/dev/null || :
	fi
	[ ${#leftovers[@]} -eq 0 ] || rm -rf -- "${leftovers[@]}"
	exit "$status"
}
trap leave EXIT
trap 'unexpected $? "${BASH_SOURCE[0]##*/}, line $LINENO: $BASH_COMMAND"' ERR
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Only one program writes to out/ at a time. Nested programs share the lock of
# the outermost one.
lock_out() {
	local fd
	[ -z "${LAB_LOCK-}" ] || return 0
	mkdir -p "$out/log" 2>/dev/null || die "cannot write to $out: change its owner or permissions, then run this again"
	exec {fd}>"$out/.lock"
	if ! flock -w 3 "$fd"; then
		say "waiting for another program that uses $out"
		flock "$fd"
	fi
	export LAB_LOCK=$fd
}

# compile_plugin FILE SOURCE: builds a QEMU plugin for lab/boot --plugin
compile_plugin() {
	"${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -shared -fPIC \
		-fvisibility=hidden -o "$1" "$2" || die "${2#"$top/"} does not compile"
}

# --- Preconditions ----------------------------------------------------------

# need SET TOOL...: checks that each TOOL, of the package set SET, is installed.
need() {
	local set=$1 tool
	shift
	for tool; do
		command -v "$tool" >/dev/null ||
			die "'$tool' is missing: run 'lab/packages --install $set'"
	done
}

# need_space DIR MIB WHAT
need_space() {
	local dir=$1 free
	while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
	free=$(($(df --output=avail -k "$dir" | tail -n 1) / 1024))
	[ "$free" -ge "$2" ] ||
		die "$3 needs $2 MiB of free space in $dir, which has $free"
}

# --- Long steps -------------------------------------------------------------

took() {
	local s=$1
	if [ "$s" -ge 60 ]; then
		printf '%d min %02d s' $((s / 60)) $((s % 60))
	else
		printf '%d s' "$s"
	fi
}

# long WHAT LOG FAR COMMAND...: runs COMMAND with its output in LOG. Meanwhile
# shows WHAT, the progress (the output of the function FAR, called with LOG) and
# the elapsed time: on a terminal as one line that is updated, otherwise as a
# line every 20 seconds. COMMAND runs in a new session, which is ended when this
# program is interrupted; COMMAND itself ends even when this program is killed.
long() {
	local what=$1 log=$2 far=$3 start=$SECONDS last=0 tick status=0
	shift 3
	mkdir -p "$(dirname "$log")"
	setsid setpriv --pdeathsig TERM -- "$@" >"$log" 2>&1 </dev/null &
	job=$!
	[ ! -t 2 ] && tick=20 || tick=1
	while sleep 0.2 && kill -0 "$job" 2>/dev/null; do
		[ $((SECONDS - start - last)) -ge "$tick" ] || continue
		last=$((SECONDS - start))
		if [ -t 2 ]; then
			printf '\r\033[K%s: %s: %s, %s ' "$me" "$what" "$("$far" "$log")" "$(took "$last")" >&2
		else
			say "$what: $("$far" "$log"), $(took "$last")"
		fi
	done
	wait "$job" || status=$?
	job=
	[ ! -t 2 ] || printf '\r\033[K' >&2
	if [ "$status" -eq 0 ]; then
		say "$what: done in $(took $((SECONDS - start)))"
	fi
	return "$status"
}

# The first line of a log that looks like an error, otherwise its last line.
blame() {
	[ -s "$1" ] || { echo "empty log: is the disk full?" && return; }
	grep -m 1 -aE '(^E: |^W: Failed|[Ee]rror:|\*\*\* |No space left|undefined reference|ERROR: modpost|: not found)' "$1" ||
		tail -n 1 "$1"
}

# --- Identity of inputs -----------------------------------------------------

# The hash of the given files and directories: paths, modes and contents.
hash_of() {
	(
		cd "$top"
		find "$@" -type f -printf '%m %p\n' | sort
		find "$@" -type f -print0 | sort -z | xargs -0 -r sha256sum
	) | sha256sum | cut -c1-64
}

# The kernels of the lab, and the source tree that each is built from.
kernels="patched stock debug pae coverage"
[ "$BASE" = 6.12 ] || kernels="patched stock"

tree_of() {
	[[ " $kernels " == *" $1 "* ]] ||
		die "unknown kernel '$1' of base $BASE, must be one of: $kernels"
	case $1 in
	stock) echo "$out/source" ;;
	*) echo "$out/tree" ;;
	esac
}

# The identity of a source tree: a hash of its inputs, and its creation time.
id_of() {
	head -n 1 "$1/.lab-tree" 2>/dev/null || cat "$1/.lab-source"
}

made_of() {
	id_of "$1" | cut -d' ' -f2-
}

# make for all calls into the kernel tree: x86, and builds that do not depend on
# user, time and host.
kernel_make=(make ARCH=x86 LOCALVERSION= KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
	KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab KBUILD_BUILD_VERSION=1)

use_ccache() {
	command -v ccache >/dev/null || return 0
	# Depend mode: a miss does not run the preprocessor in addition, which would
	# add 20 % to the first build.
	export CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=4G CCACHE_DEPEND=1
	kernel_make+=(CC="ccache gcc")
}
