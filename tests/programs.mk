# The test programs, static, for the VM:
#
#	make -f tests/programs.mk [bits=32]
#
# The sources are in the patched tree, which has both the kernel's own tests and
# those of the overlay; the programs go to out/tests/extra/usr/bin. With bits=32,
# the overlay's programs for a 32-bit kernel are built as 32-bit programs, in
# out/tests/extra-32/usr/bin.

top := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST))/..)))
mm := $(top)/out/tree/tools/testing/selftests/mm
kvm := $(top)/out/tree/tools/testing/selftests/kvm
bits := 64
suffix := $(if $(filter 32,$(bits)),-32)
bin := $(top)/out/tests/extra$(suffix)/usr/bin
lib := $(top)/out/tests/lib$(suffix)

# The kernel's own userfaultfd tests, and the helpers that they need.
theirs := uffd-unit-tests uffd-stress
helpers := vm_util uffd-common thp_settings
# The kernel's own hugetlb tests, for tests/hugetlb-tests.
hugetlb := hugepage-mmap hugepage-shm hugepage-mremap map_hugetlb hugetlb-madvise \
	hugetlb_fault_after_madv hugetlb_madv_vs_map hugetlb-soft-offline
# The tests of the overlay.
ours := $(filter-out $(theirs) $(helpers),$(notdir $(basename $(wildcard $(mm)/uffd-*.c))))
# Their helpers, which the KVM tests of the overlay use too.
uffd_lib := $(notdir $(basename $(wildcard $(mm)/uffd/*.c)))
kvm_uffd := $(notdir $(basename $(wildcard $(kvm)/guest_memfd_uffd_*.c))) guest_memfd_module_test

# KVM tests: of the overlay, and the kernel's own for tests/kvm-tests. The kernel's
# Makefile lists the files of their library.
kvm_tests := $(notdir $(basename $(wildcard $(kvm)/guest_memfd*.c))) demand_paging_test \
	set_memory_region_test pre_fault_memory_test
kvm_x86_tests := private_mem_conversions_test private_mem_kvm_exits_test
kvm_lib := $(shell sed -nE 's,^LIBKVM(_STRING|_x86_64)? \+= (lib/),\2,p' $(kvm)/Makefile)

CFLAGS := -std=gnu11 -O2 -g -static -pthread -Wall -U_FORTIFY_SOURCE -D_GNU_SOURCE= \
	-isystem $(top)/out/headers/include -I$(top)/out/tree/tools/testing/selftests
headers := $(wildcard $(mm)/*.h $(mm)/uffd/*.h $(mm)/../kselftest*.h) \
	$(top)/out/headers/include/linux/userfaultfd.h
# The harness stores pointers as 64-bit numbers.
ifeq ($(bits),32)
CFLAGS += -m32 -Wno-pointer-to-int-cast
endif
# The program also runs in the guest, which has no C library.
KVM_CFLAGS := $(CFLAGS) -DCONFIG_64BIT -march=x86-64-v2 -fno-builtin-memcmp -fno-builtin-memcpy \
	-fno-builtin-memset -fno-builtin-strnlen -fno-stack-protector -fno-pie -no-pie \
	-fno-strict-aliasing -I$(top)/out/tree/tools/include -I$(top)/out/tree/tools/arch/x86/include \
	-I$(kvm)/include -I$(kvm)/include/x86_64
kvm_headers := $(headers) $(wildcard $(kvm)/*.h $(kvm)/include/*.h $(kvm)/include/x86_64/*.h) \
	$(top)/out/headers/include/linux/kvm.h

# The programs of the suites for the pae kernel
pae := uffd-types uffd-types-errno uffd-types-file uffd-types-life \
	uffd-types-source uffd-fill uffd-filemap uffd-query

all: all-$(bits)

all-32: $(addprefix $(bin)/,$(pae))

all-64: $(addprefix $(bin)/,$(theirs) $(hugetlb) $(ours) $(kvm_tests) $(kvm_x86_tests) \
	hugetlb-tests kvm-tests vmm-test) lazyrestore vmm mainline

# Written to a temporary name first: an interrupted build leaves no partial program.
define link
	@mkdir -p $(@D)
	@echo '  CC      $(@F)'
	@$(CC) $(CFLAGS) -o $@.tmp $(filter %.c %.o,$^) -lrt
	@strip -o $@ $@.tmp && rm $@.tmp
endef

$(addprefix $(bin)/,$(ours)): $(bin)/%: $(mm)/%.c $(uffd_lib:%=$(lib)/uffd/%.o) $(headers)
	$(link)

# Warnings of the kernel's own tests are not fixed here.
$(addprefix $(bin)/,$(theirs) $(hugetlb)): CFLAGS += -w

$(addprefix $(bin)/,$(theirs)): $(bin)/%: $(mm)/%.c $(helpers:%=$(lib)/%.o) $(headers)
	$(link)

$(addprefix $(bin)/,$(hugetlb)): $(bin)/%: $(mm)/%.c $(lib)/vm_util.o $(headers)
	$(link)

$(addprefix $(bin)/,$(kvm_tests)): $(bin)/%: $(kvm)/%.c
$(addprefix $(bin)/,$(kvm_x86_tests)): $(bin)/%: $(kvm)/x86_64/%.c
$(addprefix $(bin)/,$(kvm_uffd)): $(patsubst %,$(lib)/kvm/uffd/%.o,$(filter-out mappings,$(uffd_lib)))
$(addprefix $(bin)/,$(kvm_tests) $(kvm_x86_tests)): CFLAGS = $(KVM_CFLAGS)
$(addprefix $(bin)/,$(kvm_tests) $(kvm_x86_tests)): $(addprefix $(lib)/kvm/,$(addsuffix .o,$(kvm_lib))) $(kvm_headers)
	$(link)

# The library's own tests, which also run on the host: make -C lib check
lazyrestore:
	@echo '  MAKE    lib/test'
	@$(MAKE) --no-print-directory -s -C $(top)/lib O=$(top)/out/tests/lazyrestore \
		HEADERS=$(top)/out/headers/include CFLAGS='-O2 -g -static' tests
	@mkdir -p $(top)/out/tests/extra/usr/lib/lazyrestore/test
	@cp -u $(addprefix $(top)/out/tests/lazyrestore/,uffd-serve uffd-info) $(top)/out/tests/extra/usr/lib/lazyrestore
	@cp -u $(top)/out/tests/lazyrestore/test/*-test $(top)/out/tests/extra/usr/lib/lazyrestore/test

$(bin)/vmm-test: $(top)/vmm/test/vmm-test
	@mkdir -p $(@D)
	@cp $< $@

vmm:
	@$(MAKE) --no-print-directory -f $(top)/vmm/programs.mk extra=$(top)/out/tests/extra

# A test of a newer kernel, from its own source.
mainline:
	@$(top)/lab/mainline $(bin)/mainline

$(bin)/hugetlb-tests $(bin)/kvm-tests: $(bin)/%: $(top)/tests/%
	@mkdir -p $(@D)
	@cp $< $@

$(lib)/%.o: $(mm)/%.c $(headers)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -c -o $@ $<

$(lib)/uffd/%.o: $(mm)/uffd/%.c $(headers)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -c -o $@ $<

$(lib)/kvm/uffd/%.o: $(mm)/uffd/%.c $(kvm_headers)
	@mkdir -p $(@D)
	@$(CC) $(KVM_CFLAGS) -c -o $@ $<

$(lib)/kvm/%.o: $(kvm)/% $(kvm_headers)
	@mkdir -p $(@D)
	@$(CC) $(KVM_CFLAGS) $(if $(findstring string_override,$<),-ffreestanding) -I$(dir $<) -c -o $@ $<

.PHONY: all all-32 all-64 lazyrestore vmm mainline
