# The front door. Each target calls one program, which works alone too and says
# at its top what it does; nothing is decided here.

KERNEL ?= patched

# What the user gives goes through the environment as it is, so that no quote or
# dollar sign in it hurts.
override FILE := $(value FILE)
override RUN := $(value RUN)
override EXTRA := $(value EXTRA)
export FILE RUN EXTRA KERNEL

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run check check-debug check-pae bench boot tree kernel stock debug \
	series lint steps packages clean distclean

help:
	@echo 'Userfaultfd for any memory type: a Linux 6.12 that has it, and the lab to try it.'
	@echo
	@echo '  make run [FILE=path]  restore a guest and serve a file lazily, on every memory type   *'
	@echo '  make check            all tests, on the patched and the stock kernel                  *'
	@echo '  make check-debug      the tests again on a kernel with KASAN, lockdep and more        *'
	@echo '  make check-pae        the tests of fills on a 32-bit kernel with memory above 4 GiB   *'
	@echo '  make bench            instruction counts, stock against patched                       *'
	@echo '  make boot RUN=cmd     run a command in the VM and exit with its status'
	@echo '       [KERNEL=patched|stock|debug] [EXTRA=dir of static programs] [ICOUNT=1]'
	@echo
	@echo '  make tree             the patched source, in out/tree'
	@echo '  make kernel           the patched kernel, in out/patched                              *'
	@echo '  make stock            the same kernel without our patches, in out/stock               *'
	@echo '  make debug            the patched kernel that watches itself, in out/debug            *'
	@echo '  make series           the patches as mails, in out/series, checked'
	@echo '  make lint             our files through W=1, sparse, checkpatch and shellcheck'
	@echo '  make steps            every step of the series, built in several configurations       *'
	@echo '  make packages         install the Debian packages for all of the above'
	@echo '  make clean            remove what was built; make distclean: the source as well'
	@echo
	@echo '  SOURCE=6.12.118-1 with any of them takes that version of the kernel source.'
	@echo '  * takes minutes the first time. What a target needs is fetched and built on the'
	@echo '    way; missing packages are installed, if root or sudo allows, or else named.'

run:
	@lab/packages --install build boot tests
	@demo/run "$$FILE"

check:
	@lab/packages --install build boot tests
	@tests/check

check-debug:
	@lab/packages --install build boot tests
	@tests/check --debug

check-pae:
	@lab/packages --install build boot tests steps
	@tests/check --pae

bench:
	@lab/packages --install build boot bench
	@bench/run

boot:
	@lab/packages --install build boot
	@lab/build "$$KERNEL"
	@lab/boot --kernel "$$KERNEL" $(if $(EXTRA),--extra "$$EXTRA") $(if $(ICOUNT),--icount) -- \
		/bin/sh -c "$${RUN:?say what to run: make boot RUN=cmd}"

tree:
	@lab/packages --install build
	@lab/apply

kernel:
	@lab/packages --install build
	@lab/build patched

stock debug:
	@lab/packages --install build
	@lab/build $@

series:
	@lab/packages --install build series
	@lab/series

lint:
	@lab/packages --install build lint series
	@lab/lint

steps:
	@lab/packages --install build series steps
	@lab/steps

packages:
	@lab/packages --install build boot tests bench series lint steps

# The source stays: it is as good as the archive's.
clean:
	@[ ! -d out ] || find out -mindepth 1 -maxdepth 1 ! -name source ! -name .lock -exec rm -rf {} +

distclean:
	@rm -rf out
