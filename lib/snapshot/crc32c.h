/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* CRC-32C (Castagnoli), the checksum of snapshots. Internal. */
#ifndef LAZY_CRC32C_H
#define LAZY_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/**
 * lazy_crc32c() - checksum of a buffer
 * @crc: 0, or the checksum of the bytes before @data
 * @data: first byte
 * @len: in bytes
 *
 * Detects every error burst of up to 32 bits. It protects against accidental
 * corruption, not against deliberate changes. Safe in any thread.
 *
 * Return: the checksum.
 */
uint32_t lazy_crc32c(uint32_t crc, const void *data, size_t len);

#pragma GCC visibility pop

#endif /* LAZY_CRC32C_H */
