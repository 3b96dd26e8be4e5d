# shellcheck shell=bash
# What the lab's programs share, sourced by each of them: where things are,
# one voice for messages, long steps that show how far they are, one writer of
# out/ at a time, and one way to die. Messages go to stderr: stdout belongs to
# what a program was asked to print.

set -Eeuo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
umask 022

me=${0##*/}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
out=$top/out
cache=${XDG_CACHE_HOME:-${HOME:-$out}/.cache}/modular-userfaultfd

# What a caller's make, or a kernel developer's shell, would otherwise pass on
# to the kernel's makefiles.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES ARCH SUBARCH CROSS_COMPILE LLVM \
	KBUILD_OUTPUT KBUILD_EXTMOD KCONFIG_CONFIG KCONFIG_ALLCONFIG KCFLAGS \
	KCPPFLAGS KAFLAGS INSTALL_MOD_PATH INSTALL_HDR_PATH

say() {
	printf '%s: %s\n' "$me" "$*" >&2
}

# The status of a program that has said why it stopped: its callers need not.
said=3

die() {
	say "$*"
	exit "$said"
}

# --- Leaving: whatever a program started or half wrote goes with it ---------

job=
leftovers=()

unexpected() {
	[ "$1" -eq "$said" ] || [ "$1" -ge 128 ] || say "stopped by a failure in $2"
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

# Only one program writes to out/ at a time. Programs that call each other
# share the lock of the outermost one.
lock_out() {
	local fd
	[ -z "${LAB_LOCK-}" ] || return 0
	mkdir -p "$out/log" 2>/dev/null || die "cannot write to $out: make that directory yours, then run this again"
	exec {fd}>"$out/.lock"
	if ! flock -w 3 "$fd"; then
		say "waiting for another run that writes to $out"
		flock "$fd"
	fi
	export LAB_LOCK=$fd
}

# compile_plugin FILE SOURCE : a plugin for QEMU, which lab/boot --plugin loads
compile_plugin() {
	"${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -shared -fPIC \
		-fvisibility=hidden -o "$1" "$2" || die "${2#"$top/"} does not compile"
}

# --- Preconditions ----------------------------------------------------------

# need SET TOOL... : every TOOL must be there; the package set SET brings them.
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
		die "$3 needs $2 MiB free in $dir, which has $free: make room, then run this again"
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

# long WHAT LOG FAR COMMAND... : runs COMMAND with its output in LOG, and shows
# meanwhile what runs, how far it is (what the function FAR prints, given LOG)
# and for how long: as one line that changes on a terminal, as a line every 20
# seconds elsewhere. The command and all that it starts are a session of their
# own, which goes when this program is interrupted; the command itself ends even
# when this program is killed.
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

# The first line of a log that names an error, or else its last line.
blame() {
	[ -s "$1" ] || { echo "nothing was logged: is the disk full?" && return; }
	grep -m 1 -aE '(^E: |^W: Failed|[Ee]rror:|\*\*\* |No space left|undefined reference|ERROR: modpost|: not found)' "$1" ||
		tail -n 1 "$1"
}

# --- Identity of inputs -----------------------------------------------------

# One hash for the given files and directories: paths, modes and contents.
hash_of() {
	(
		cd "$top"
		find "$@" -type f -printf '%m %p\n' | sort
		find "$@" -type f -print0 | sort -z | xargs -0 -r sha256sum
	) | sha256sum | cut -c1-64
}

# The kernels that the lab knows, and the source tree that each is built from.
kernels="patched stock debug pae"

tree_of() {
	case $1 in
	stock) echo "$out/source" ;;
	patched | debug | pae) echo "$out/tree" ;;
	*) die "no kernel is named '$1': it is one of $kernels" ;;
	esac
}

# What a source tree is made from, and when it was first made.
id_of() {
	head -n 1 "$1/.lab-tree" 2>/dev/null || cat "$1/.lab-source"
}

made_of() {
	id_of "$1" | cut -d' ' -f2-
}

# make, as every call into the kernel tree needs it: one architecture, the
# object directory of KERNEL, and builds that do not depend on who, when and
# where.
kernel_make=(make ARCH=x86 LOCALVERSION= KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
	KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab KBUILD_BUILD_VERSION=1)

use_ccache() {
	command -v ccache >/dev/null || return 0
	export CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=4G
	kernel_make+=(CC="ccache gcc")
}
