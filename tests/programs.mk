# The test programs, static, for the test machine:
#
#	make -f tests/programs.mk
#
# Sources come from the patched tree, where the kernel's own tests and those of
# the overlay lie side by side; the programs go to out/tests/extra/usr/bin.

top := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST))/..)))
mm := $(top)/out/tree/tools/testing/selftests/mm
bin := $(top)/out/tests/extra/usr/bin
lib := $(top)/out/tests/lib

# From the kernel as it is, which need the helpers of their directory.
theirs := uffd-unit-tests uffd-stress
helpers := vm_util uffd-common thp_settings
# The same, of hugetlb: what tests/hugetlb-tests runs.
hugetlb := hugepage-mmap hugepage-shm hugepage-mremap map_hugetlb hugetlb-madvise \
	hugetlb_fault_after_madv hugetlb_madv_vs_map hugetlb-soft-offline
# From the overlay.
ours := $(filter-out $(theirs) $(helpers),$(notdir $(basename $(wildcard $(mm)/uffd-*.c))))

CFLAGS := -std=gnu11 -O2 -g -static -pthread -Wall -U_FORTIFY_SOURCE -D_GNU_SOURCE= \
	-isystem $(top)/out/headers/include -I$(top)/out/tree/tools/testing/selftests
headers := $(wildcard $(mm)/*.h $(mm)/../kselftest*.h) $(top)/out/headers/include/linux/userfaultfd.h

all: $(addprefix $(bin)/,$(theirs) $(hugetlb) $(ours) hugetlb-tests)

# Written to another name first: a stopped build leaves no half program.
define link
	@mkdir -p $(@D)
	@echo '  CC      $(@F)'
	@$(CC) $(CFLAGS) -o $@.tmp $(filter %.c %.o,$^) -lrt
	@strip -o $@ $@.tmp && rm $@.tmp
endef

$(addprefix $(bin)/,$(ours)): $(bin)/%: $(mm)/%.c $(headers)
	$(link)

$(addprefix $(bin)/,$(theirs)): $(bin)/%: $(mm)/%.c $(helpers:%=$(lib)/%.o) $(headers)
	$(link)

$(addprefix $(bin)/,$(hugetlb)): $(bin)/%: $(mm)/%.c $(lib)/vm_util.o $(headers)
	$(link)

$(bin)/hugetlb-tests: $(top)/tests/hugetlb-tests
	@mkdir -p $(@D)
	@cp $< $@

$(lib)/%.o: $(mm)/%.c $(headers)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -c -o $@ $<

.PHONY: all
