# Each target calls one program, which also works alone and is described at its
# top. Nothing is decided here.

KERNEL ?= patched
BASE ?= 6.12

# User input is passed through the environment unexpanded: quotes and dollar
# signs in it are harmless.
override FILE := $(value FILE)
override RUN := $(value RUN)
override EXTRA := $(value EXTRA)
override FLAVOR := $(value FLAVOR)
override DEBUG_INFO := $(value DEBUG_INFO)
export FILE RUN EXTRA KERNEL BASE FLAVOR DEBUG_INFO

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run check check-debug check-pae coverage bench bench-restore boot \
	shell tree kernel stock debug deb install-check series lint steps transcript \
	figures packages clean distclean

help:
	@echo 'Linux 6.12 with userfaultfd for any memory type, and a lab to try it in.'
	@echo
	@echo '  make run [FILE=path]  restore a guest and serve a file through userfaultfd *'
	@echo '  make check            all tests, on the patched and the stock kernel       *'
	@echo '  make check-debug      the tests on a kernel with KASAN, lockdep and more   *'
	@echo '  make coverage         lines and branches of the core that the tests run    *'
	@echo '  make check-pae        the tests of fills on 32 bits, memory above 4 GiB    *'
	@echo '  make bench            instruction counts, stock against patched            *'
	@echo '  make bench-restore    lazy restores on this kernel, compared with others'
	@echo '  make shell            a shell in the VM, with the programs of the tests'
	@echo '  make boot RUN=cmd     run a command in the VM and exit with its status'
	@echo '       options of shell and boot: [KERNEL=patched|stock|debug]'
	@echo '       [EXTRA=dir of static programs]; of boot: [ICOUNT=1]'
	@echo
	@echo '  make tree             the patched source, in out/tree'
	@echo '  make kernel           the patched kernel, in out/patched                   *'
	@echo '  make stock            the same kernel without our patches, in out/stock    *'
	@echo '  make debug            the patched kernel with debugging, in out/debug      *'
	@echo '  make deb              Debian packages, in out/deb, with the configuration  *'
	@echo '                        of Debian; [FLAVOR=amd64] [DEBUG_INFO=1]'
	@echo '  make install-check    install them on Debian 12 and 13 in a VM, hours      *'
	@echo '  make series           the patches as mails, in out/series, verified'
	@echo '  make lint             W=1, sparse, checkpatch and shellcheck on our files'
	@echo '  make steps [LINK=1]   build after each step, in several configurations     *'
	@echo '  make transcript       write docs/transcript.md: what make run prints today *'
	@echo '  make figures          update the generated figures of the documentation'
	@echo '  make packages         install the Debian packages for all of the above'
	@echo '  make clean            remove what was built; make distclean: the source, too'
	@echo
	@echo '  BASE=7.3 with tree, stock, check, boot and shell: Linux 7.3, in out/7.3. Only'
	@echo '  some series are ported to it, and that kernel was not booted: docs/upstream.md.'
	@echo '  SOURCE=6.12.118-1 with any target selects that version of the kernel source.'
	@echo '  * takes minutes the first time. Each target fetches and builds what it needs.'
	@echo '    Missing packages are installed if root or sudo allows it, otherwise named.'

run:
	@lab/packages --install build boot tests
	@demo/run "$$FILE"

check:
	@lab/packages --install build boot tests fuzz
	@tests/check

check-debug:
	@lab/packages --install build boot tests
	@tests/check --debug

check-pae:
	@lab/packages --install build boot tests steps
	@tests/check --pae

coverage:
	@lab/packages --install build boot tests
	@tests/coverage $(if $(DOCS),--docs)

bench:
	@lab/packages --install build boot bench
	@bench/run

bench-restore:
	@bench/restore

boot:
	@lab/packages --install build boot
	@lab/build "$$KERNEL"
	@lab/boot --kernel "$$KERNEL" $(if $(EXTRA),--extra "$$EXTRA") \
		$(if $(ICOUNT),--icount) -- /bin/sh -c "$${RUN:?no command: make boot RUN=cmd}"

shell:
	@lab/packages --install build boot tests
	@tests/programs
	@lab/build "$$KERNEL"
	@lab/shell --kernel "$$KERNEL" $(if $(EXTRA),--extra "$$EXTRA")

tree:
	@lab/packages --install build
	@lab/apply

kernel:
	@lab/packages --install build
	@lab/build patched

stock debug:
	@lab/packages --install build
	@lab/build $@

deb:
	@lab/packages --install build deb
	@lab/deb

install-check: deb
	@lab/packages --install boot install
	@tests/check --no-build --suites tests/install/suites --log out/log/install
	@$(if $(DOCS),tests/install/transcript)

series:
	@lab/packages --install build series
	@lab/series

lint:
	@lab/packages --install build lint series
	@lab/lint

steps:
	@lab/packages --install build series steps
	@lab/steps $(if $(LINK),--link)

transcript:
	@lab/packages --install build boot tests
	@demo/transcript

figures:
	@lab/packages --install build
	@docs/figures

packages:
	@lab/packages --install build boot tests bench fuzz series lint steps deb install

# The kernel source of each base is kept: it is the archive's, unchanged.
clean:
	@for dir in out out/7.3; do \
		[ ! -d $$dir ] || find $$dir -mindepth 1 -maxdepth 1 ! -name source \
			! -name .lock ! -name 7.3 -exec rm -rf {} +; \
	done

distclean:
	@rm -rf out
