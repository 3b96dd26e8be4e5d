# The VMM and its guest's initramfs, for the VM of the lab:
#
#	make -f vmm/programs.mk
#
# They go to extra=DIRECTORY (out/vmm/extra), whose content is copied to the
# root of the VM's file system: usr/bin/vmm, and in vmm/ the guest's initramfs
# and kernel, which is always the patched kernel.

top := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST))/..)))
extra := $(top)/out/vmm/extra
kernel := $(top)/out/patched/bzImage
work := $(top)/out/vmm

CFLAGS := -std=gnu11 -O2 -g -static -pthread -Wall -Wextra \
	-isystem $(top)/out/headers/include -I$(top)/lib/include

library := $(wildcard $(patsubst %,$(top)/lib/%/*.c,core handover snapshot))
program := $(filter-out %/guest.c,$(wildcard $(top)/vmm/*.c))
headers := $(wildcard $(top)/lib/*/*.h $(top)/lib/include/*/*.h $(top)/vmm/*.h)

all: $(extra)/usr/bin/vmm $(extra)/vmm/initrd $(extra)/vmm/bzImage

# Through a temporary name, so an interrupted build leaves no partial program.
$(extra)/usr/bin/vmm: $(library) $(program) $(headers)
	@mkdir -p $(@D) $(work)
	@echo '  CC      $(@F)'
	@$(CC) $(CFLAGS) -o $(work)/vmm.tmp $(library) $(program)
	@strip -o $@ $(work)/vmm.tmp && rm $(work)/vmm.tmp

$(extra)/vmm/initrd: $(top)/vmm/guest.c
	@mkdir -p $(@D) $(work)/guest
	@echo '  CC      guest'
	@$(CC) $(CFLAGS) -s -o $(work)/guest/init $<
	@cd $(work)/guest && echo init | cpio --create --format=newc --owner=+0:+0 --quiet >$@.tmp
	@mv $@.tmp $@

$(extra)/vmm/bzImage: $(kernel)
	@mkdir -p $(@D)
	@cp $< $@

.PHONY: all
