// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * CRC-32C, eight bytes at a time, with the processor's instruction if
 * available, otherwise with a table. Assumes a little-endian processor.
 */
#include <string.h>

#include "crc32c.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "snapshots and checksums are little endian"
#endif

#define POLYNOMIAL	0x82f63b78u	/* its bits mirrored */

/* table[k][b]: the effect of byte b followed by k more bytes. */
static uint32_t table[8][256];

/* Runs before main(): the table is constant from then on. */
static void __attribute__((constructor)) make_table(void)
{
	for (unsigned int b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][b] = crc;
	}
	for (unsigned int b = 0; b < 256; b++)
		for (int k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^
				      table[0][table[k - 1][b] & 0xff];
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		v ^= crc;
		crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^
		      table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff] ^
		      table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^
		      table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	while (len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return crc;
}

#ifdef __x86_64__
#include <immintrin.h>

/*
 * The instruction has a latency of three cycles and a throughput of one, so
 * three lanes of LANE bytes are computed side by side. Appending n zero bytes
 * to data multiplies its checksum by x^8n. The carry-less product of two
 * mirrored numbers, reduced by the crc32 instruction, is their product times
 * x^33, hence the constants: x^(8 * LANE - 33) and x^(16 * LANE - 33), mirrored,
 * modulo the polynomial.
 *
 * Three lanes are nearly a chunk of 4096 bytes.
 */
#define LANE		1360
#define ONE_LANE	0x3f70cc6fll
#define TWO_LANES	0x5aa1f3cfll

static uint64_t word(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static uint64_t __attribute__((target("sse4.2,pclmul")))
three_lanes(uint64_t a, const unsigned char *p)
{
	uint64_t b = 0, c = 0;
	__m128i ab;

	for (size_t i = 0; i < LANE; i += 8) {
		a = _mm_crc32_u64(a, word(p + i));
		b = _mm_crc32_u64(b, word(p + LANE + i));
		c = _mm_crc32_u64(c, word(p + 2 * LANE + i));
	}
	ab = _mm_xor_si128(_mm_clmulepi64_si128(_mm_cvtsi64_si128(a),
						_mm_cvtsi64_si128(TWO_LANES), 0),
			   _mm_clmulepi64_si128(_mm_cvtsi64_si128(b),
						_mm_cvtsi64_si128(ONE_LANE), 0));
	return c ^ _mm_crc32_u64(0, _mm_cvtsi128_si64(ab));
}

static uint32_t __attribute__((target("sse4.2,pclmul")))
by_instruction(uint64_t crc, const unsigned char *p, size_t len)
{
	for (; len >= 3 * LANE; p += 3 * LANE, len -= 3 * LANE)
		crc = three_lanes(crc, p);
	for (; len >= 8; p += 8, len -= 8)
		crc = _mm_crc32_u64(crc, word(p));
	for (; len; p++, len--)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}
#endif

uint32_t lazy_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2") &&
	    __builtin_cpu_supports("pclmul"))
		return ~by_instruction(~crc, data, len);
#endif
	return ~by_table(~crc, data, len);
}
