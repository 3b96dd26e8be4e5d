// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The JSON of a hand-over: a strict parser for an array of objects with integer
 * members. Everything else that is JSON is skipped, what is not is an error.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lazyrestore/error.h>

#include "handover.h"

#define MAX_DEPTH	32		/* of values that are skipped */

struct parser {
	const char *at, *end;
	const char *begin;
	struct lazy_error *error;
};

static int invalid(struct parser *p, const char *what)
{
	return lazy_error_set(p->error, LAZY_E_PROTOCOL,
			      "the message is invalid at byte %zu: %s",
			      (size_t)(p->at - p->begin), what);
}

static void skip_space(struct parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' ||
				  *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

/* Takes @c, with white space around it. */
static bool take(struct parser *p, char c)
{
	skip_space(p);
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	skip_space(p);
	return true;
}

static bool is_digit(const struct parser *p)
{
	return p->at < p->end && *p->at >= '0' && *p->at <= '9';
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	       (c >= 'A' && c <= 'F');
}

/* The raw bytes between the quotes: names that matter have no escapes. */
static int string(struct parser *p, const char **text, size_t *len)
{
	if (p->at == p->end || *p->at != '"')
		return invalid(p, "expected a string");
	*text = ++p->at;
	for (; p->at < p->end; p->at++) {
		if (*p->at == '"') {
			*len = p->at++ - *text;
			return 0;
		}
		if ((unsigned char)*p->at < ' ')
			return invalid(p, "control character in a string");
		if (*p->at != '\\')
			continue;
		if (++p->at == p->end)
			break;
		if (*p->at == 'u') {
			for (int i = 0; i < 4; i++)
				if (++p->at == p->end || !is_hex(*p->at))
					return invalid(p, "invalid escape");
		} else if (!memchr("\"\\/bfnrt", *p->at, 8)) {
			return invalid(p, "invalid escape");
		}
	}
	return invalid(p, "string without an end");
}

static int skip_number(struct parser *p)
{
	if (*p->at == '-')
		p->at++;
	if (!is_digit(p))
		return invalid(p, "expected a value");
	if (*p->at == '0')
		p->at++;
	else
		while (is_digit(p))
			p->at++;
	if (p->at < p->end && *p->at == '.') {
		p->at++;
		if (!is_digit(p))
			return invalid(p, "invalid number");
		while (is_digit(p))
			p->at++;
	}
	if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
		p->at++;
		if (p->at < p->end && (*p->at == '+' || *p->at == '-'))
			p->at++;
		if (!is_digit(p))
			return invalid(p, "invalid number");
		while (is_digit(p))
			p->at++;
	}
	return 0;
}

static int skip_word(struct parser *p, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len))
		return invalid(p, "expected a value");
	p->at += len;
	return 0;
}

static int skip_value(struct parser *p, int depth);

static int skip_list(struct parser *p, char close, int depth)
{
	const char *text;
	size_t len;

	p->at++;
	if (take(p, close))
		return 0;
	do {
		if (close == '}') {
			if (string(p, &text, &len))
				return -1;
			if (!take(p, ':'))
				return invalid(p, "expected ':'");
		}
		if (skip_value(p, depth - 1))
			return -1;
	} while (take(p, ','));
	if (take(p, close))
		return 0;
	return invalid(p, "expected ',' or the end of a list");
}

static int skip_value(struct parser *p, int depth)
{
	const char *text;
	size_t len;

	if (!depth)
		return invalid(p, "nested too deeply");
	if (p->at == p->end)
		return invalid(p, "expected a value");
	switch (*p->at) {
	case '{':
		return skip_list(p, '}', depth);
	case '[':
		return skip_list(p, ']', depth);
	case '"':
		return string(p, &text, &len);
	case 't':
		return skip_word(p, "true");
	case 'f':
		return skip_word(p, "false");
	case 'n':
		return skip_word(p, "null");
	default:
		return skip_number(p);
	}
}

/* A member that matters: an integer from 0 to 2^64 - 1. */
static int number(struct parser *p, uint64_t *value)
{
	const char *begin = p->at;
	uint64_t n = 0;

	if (!is_digit(p))
		return invalid(p, "expected an integer that is not negative");
	for (; is_digit(p); p->at++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, *p->at - '0', &n))
			return invalid(p, "number out of range");
	if (*begin == '0' && p->at - begin > 1)
		return invalid(p, "number with a leading zero");
	if (p->at < p->end && memchr(".eE", *p->at, 3))
		return invalid(p, "expected an integer");
	*value = n;
	return 0;
}

enum { BASE, SIZE, OFFSET, PAGE_SIZE, PAGE_SIZE_KIB, NR_MEMBERS };

static const char *const names[NR_MEMBERS] = {
	"base_host_virt_addr", "size", "offset", "page_size", "page_size_kib",
};

static int member(struct parser *p, uint64_t *values, unsigned int *seen)
{
	const char *name;
	size_t len;

	if (string(p, &name, &len))
		return -1;
	if (!take(p, ':'))
		return invalid(p, "expected ':'");
	for (int i = 0; i < NR_MEMBERS; i++) {
		if (strlen(names[i]) != len || memcmp(names[i], name, len))
			continue;
		if (*seen & 1U << i)
			return invalid(p, "a member is given twice");
		*seen |= 1U << i;
		return number(p, &values[i]);
	}
	return skip_value(p, MAX_DEPTH);
}

static int region(struct parser *p, struct handover_region *r)
{
	uint64_t values[NR_MEMBERS] = {};
	unsigned int seen = 0;

	if (!take(p, '{'))
		return invalid(p, "expected an object");
	if (!take(p, '}')) {
		do {
			if (member(p, values, &seen))
				return -1;
		} while (take(p, ','));
		if (!take(p, '}'))
			return invalid(p, "expected ',' or '}'");
	}
	for (int i = BASE; i <= OFFSET; i++)
		if (!(seen & 1U << i))
			return lazy_error_set(p->error, LAZY_E_PROTOCOL,
					      "the message has a region without %s",
					      names[i]);
	*r = (struct handover_region) {
		.address = values[BASE],
		.size = values[SIZE],
		.offset = values[OFFSET],
		.page_size = values[seen & 1U << PAGE_SIZE ? PAGE_SIZE :
				    PAGE_SIZE_KIB],
	};
	if (!(seen & (1U << PAGE_SIZE | 1U << PAGE_SIZE_KIB)))
		r->page_size = sysconf(_SC_PAGESIZE);
	return 0;
}

static int add_region(struct parser *p, struct handover *h, size_t *room)
{
	struct handover_region *regions;

	if (h->nr == *room) {
		*room = *room ? 2 * *room : 16;
		regions = realloc(h->regions, *room * sizeof(*regions));
		if (!regions)
			return lazy_error_set(p->error, LAZY_E_MEMORY,
					      "out of memory");
		h->regions = regions;
	}
	return region(p, &h->regions[h->nr++]);
}

int handover_parse(const char *text, size_t len, struct handover *handover,
		   struct lazy_error *error)
{
	struct parser p = {
		.at = text, .begin = text, .end = text + len, .error = error,
	};
	size_t room = 0;

	free(handover->regions);
	handover->regions = NULL;
	handover->nr = 0;
	if (!take(&p, '['))
		return invalid(&p, "expected an array");
	if (take(&p, ']'))
		return lazy_error_set(error, LAZY_E_PROTOCOL,
				      "the message has no regions");
	do {
		if (add_region(&p, handover, &room))
			return -1;
	} while (take(&p, ','));
	if (!take(&p, ']'))
		return invalid(&p, "expected ',' or ']'");
	if (p.at != p.end)
		return invalid(&p, "expected nothing behind the array");
	return 0;
}

int framing_step(struct framing *framing, char byte)
{
	if (!framing->depth) {
		if (byte == '[')
			framing->depth = 1;
		return byte && memchr("[ \t\n\r", byte, 5) ? 0 : -1;
	}
	if (framing->string) {
		if (framing->escape)
			framing->escape = false;
		else if (byte == '\\')
			framing->escape = true;
		else if (byte == '"')
			framing->string = false;
		return 0;
	}
	switch (byte) {
	case '"':
		framing->string = true;
		return 0;
	case '[':
	case '{':
		framing->depth++;
		return 0;
	case ']':
	case '}':
		return --framing->depth ? 0 : 1;
	}
	return 0;
}
