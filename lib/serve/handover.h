/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Firecracker's hand-over: what a VMM sends to its page fault handler.
 *
 * The VMM connects to a Unix stream socket and sends one JSON array, with the
 * userfaultfd of its guest memory attached by SCM_RIGHTS:
 *
 *	[{"base_host_virt_addr":139841871757312,"size":2147483648,"offset":0,
 *	  "page_size":4096,"page_size_kib":4096}, ...]
 *
 * It may close the connection afterwards: the end of the connection is not the
 * end of the VM.
 */
#ifndef SERVE_HANDOVER_H
#define SERVE_HANDOVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lazy_error;

/**
 * struct handover_region - a mapping of guest memory in the VMM
 * @address: base_host_virt_addr
 * @size: in bytes
 * @offset: of its first byte in the memory file, in bytes
 * @page_size: in bytes: page_size, or page_size_kib (in bytes, too) of a VMM
 *	that sends only this one, or the system's if it sends neither
 */
struct handover_region {
	uint64_t address;
	uint64_t size;
	uint64_t offset;
	uint64_t page_size;
};

/**
 * struct handover - the content of a message
 * @regions: allocated with malloc(); sorted by address once checked
 * @nr: number of regions
 * @uffd: the userfaultfd, or -1
 */
struct handover {
	struct handover_region *regions;
	size_t nr;
	int uffd;
};

/**
 * handover_parse() - read the JSON array
 * @text: the array and nothing else, except white space around it
 * @len: in bytes
 * @handover: its regions are set; free them with handover_free()
 * @error: set on failure
 *
 * Members with other names are ignored. Anything that is not JSON is an error.
 *
 * Return: 0, or -1 with @error set.
 */
int handover_parse(const char *text, size_t len, struct handover *handover,
		   struct lazy_error *error);

/**
 * handover_check() - check numbers, alignment and overlaps
 * @handover: its regions are sorted
 * @length: of the memory that the regions take their content from, in bytes
 * @error: set on failure
 *
 * Return: 0, or -1 with @error set.
 */
int handover_check(struct handover *handover, uint64_t length,
		   struct lazy_error *error);

/**
 * handover_receive() - receive the message and its descriptor
 * @sock: the connection
 * @timeout_ms: how long to wait for all of it
 * @handover: set, also on failure as far as it was received; free it with
 *	handover_free()
 * @error: set on failure
 *
 * The message may arrive in any number of pieces. An array that came without a
 * descriptor waits for one: with white space, or with another array, which then
 * replaces the first. The descriptor is known to be a userfaultfd.
 *
 * Return: 0, or -1 with @error set.
 */
int handover_receive(int sock, int timeout_ms, struct handover *handover,
		     struct lazy_error *error);

/**
 * handover_free() - free the regions and close the userfaultfd
 * @handover: empty afterwards
 */
void handover_free(struct handover *handover);

/**
 * struct framing - finds the end of an array in a stream
 * @depth: of open brackets and braces, 0: no array has begun
 * @string: inside a string
 * @escape: behind a backslash
 */
struct framing {
	unsigned int depth;
	_Bool string;
	_Bool escape;
};

/**
 * framing_step() - take the next byte of a stream
 * @framing: zero before the first byte
 * @byte: the byte
 *
 * Return: 1 if @byte ends the array, 0 if it is part of one or white space
 * between two of them, -1 if no array can begin with it.
 */
int framing_step(struct framing *framing, char byte);

#endif /* SERVE_HANDOVER_H */
