# shellcheck shell=bash
# Common functions that download Debian's packages of the kernel source, one for
# each base: pinned to a version and its sha256, kept in the cache. Sourced after
# lib.sh.
#
#	select_package BASE [VERSION]
#	if ! cached; then from_newer_suites; keep; fi
#	unpack_package DIR

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
fetch=$cache/fetch.$$
leftovers+=("$fetch")

# Options of apt: the system's sources and lists at first.
lists=()

# select_package BASE [VERSION]: sets package, version, deb (its file), and pin,
# the version to download: VERSION and no other, or the pinned one.
select_package() {
	local tested
	package=linux-source-$1
	# The versions that the series was tested on, the pinned one first; for 7.3,
	# those that the stock kernel was tested with.
	case $1 in
	6.12)	tested='6.12.117-1~deb12u1 e849faf31ca3555757f3a8877cb01af92122f744f75d1f3102734651c4e14703
6.12.118-1 b75bb2e78a5c7762254e2af7685085c788a67eb342cb4092ad2a05eaf9fc33b7' ;;
	7.3)	tested='7.3.4-1~bpo13+1 703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3' ;;
	esac
	exact=${2-}
	pin=${exact:-${tested%% *}}
	sha256=$(awk -v version="$pin" '$1 == version { print $2 }' <<<"$tested")
	[[ $pin =~ ^${1/./\\.}\.[0-9.a-z~+-]+$ ]] ||
		die "SOURCE='$pin' is not a version of $package; an example is ${tested%% *}"
	deb=$cache/${package}_${pin}_all.deb
	version=$pin
}

verified() {
	[ -e "$1" ] && [ -n "$sha256" ] && echo "$sha256  $1" | sha256sum --quiet -c - >/dev/null 2>&1
}

# Is the pinned version in the cache? Anything else under its name is removed.
cached() {
	verified "$deb" || { rm -f "$deb" && return 1; }
}

size_of_lists() { du -sh "$cache/lists" | cut -f1; }
size_of_fetch() { du -sh "$fetch" | cut -f1; }

# fresh_lists [OPTION...]: downloads private lists, without those of the system.
fresh_lists() {
	lists=(-o Dir::State::Lists="$cache/lists" -o Dir::Cache="$cache/apt" -o APT::Sandbox::User=root "$@")
	mkdir -p "$cache"/lists/partial "$cache"/apt/archives/partial
	long "reading the package lists" "$log" size_of_lists apt-get "${lists[@]}" update
}

# suite_lists URI SUITE...: downloads the lists of these suites of an archive.
suite_lists() {
	local uri=$1 suite signed=
	shift
	[ ! -e "$keyring" ] || signed="[signed-by=$keyring] "
	for suite; do echo "deb $signed$uri $suite main"; done >"$cache/$package.list"
	fresh_lists -o Dir::Etc::SourceList="$cache/$package.list" -o Dir::Etc::SourceParts=/dev/null \
		-o APT::Update::Error-Mode=any -o Acquire::Retries=3
}

# archive_of RELEASE: the archive in the system's apt sources that has RELEASE.
archive_of() {
	mkdir -p "$cache/lists/partial"
	apt-get -o Dir::State::Lists="$cache/lists" --print-uris update 2>/dev/null |
		sed -n "s,^'\(.*\)/dists/$1/InRelease' .*,\1,p" | head -n 1 || :
}

release() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# Sets version: the pinned one if the lists have it, otherwise the newest of the
# base, if any.
choose() {
	local offered
	offered=$(apt-cache "${lists[@]}" madison "$package" 2>/dev/null |
		awk -F' *[|] *' '$3 ~ / Packages$/ { print $2 }' | sort -ruV)
	version=$(grep -xF "$pin" <<<"$offered" || grep -m 1 "^${package##*-}\." <<<"$offered")
}

# Downloads the chosen version, and sets deb.
download() {
	rm -rf "$fetch"
	mkdir "$fetch"
	long "fetching $package $version" "$log" size_of_fetch \
		env -C "$fetch" apt-get "${lists[@]}" download "$package=$version" || return
	deb=$(echo "$fetch"/*.deb)
	[ -s "$deb" ]
}

download_pin() { choose && [ "$version" = "$pin" ] && download; }

# Downloads from Debian's newer suites, with private lists: the pinned version if
# they have it, otherwise the newest one of the base. Calls unavailable, of the
# caller, with the reason if that is impossible.
from_newer_suites() {
	local archive suites
	archive=$(archive_of "$(release)")
	[ -n "$archive" ] || unavailable "apt's sources contain no Debian archive"
	for suites in "trixie-backports" "trixie-backports sid"; do
		# shellcheck disable=SC2086
		suite_lists "$archive" $suites || :
		! { choose && [ "$version" = "$pin" ]; } || break
	done
	if [ -z "$version" ]; then
		# Not caused by a missing network
		! grep -qE 'NO_PUBKEY|BADSIG|EXPKEYSIG|^E: .*not signed' "$log" ||
			die "cannot verify the signature of the lists of $suites ($(blame "$log")): install a newer debian-archive-keyring"
		grep -qE '^(E:|W: Failed)' "$log" || unavailable "$package is not in ${suites/ / or } any more"
		unavailable "cannot fetch the lists of ${suites/ / and } ($(blame "$log"))"
	fi
	[ "$version" = "$pin" ] || [ -z "$exact" ] || unavailable "$package $pin is not in ${suites/ / or }"
	[ "$version" = "$pin" ] || say "pinned version $pin is not available, using $version, which was not tried $unpinned"
	download || unavailable "cannot fetch $package $version ($(blame "$log"))"
}

# Keeps a pinned version in the cache, if its sha256 is right. Others are used
# once.
keep() {
	if [ "$version" = "$pin" ] && [ -z "$sha256" ]; then
		say "$version is not among the tested versions $unpinned"
	elif [ "$version" = "$pin" ]; then
		verified "$deb" || die "$package $version does not have the sha256 that is pinned: discarded; check apt's sources"
		mv "$deb" "$cache/${package}_${pin}_all.deb"
		deb=$cache/${package}_${pin}_all.deb
	fi
}

# What is to be known about a version that is not a tested one
unpinned="(not verified by a pinned sha256; apt's signature was checked)"

# unpack_package DIR FAR [PATH...]: unpacks the source, or parts of it, to DIR.
unpack_package() {
	local dir=$1 far=$2
	shift 2
	# shellcheck disable=SC2016
	long "unpacking linux $version" "$log" "$far" bash -c '
		set -euo pipefail
		dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" |
			tar -xJm --no-same-owner --strip-components=1 -C "$3" "${@:4}"' - \
		"$deb" "$package" "$dir" "${@/#/$package/}" ||
		die "cannot unpack $package $version ($(blame "$log")): see $log, then run this again"
}
