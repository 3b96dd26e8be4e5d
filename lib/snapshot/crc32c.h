/* SPDX-License-Identifier: GPL-2.0 */
/* CRC-32C (Castagnoli), the checksum of snapshots. */
#ifndef LAZY_CRC32C_H
#define LAZY_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/**
 * crc32c() - checksum of a buffer
 * @data: its first byte
 * @len: in bytes
 *
 * Detects every error burst of up to 32 bits. It protects against accidental
 * corruption, not against deliberate changes.
 *
 * Return: the checksum.
 */
uint32_t crc32c(const void *data, size_t len);

#endif /* LAZY_CRC32C_H */
