// SPDX-License-Identifier: GPL-2.0
/*
 * The serial port: a 16550A that transmits each byte immediately and never
 * receives.
 */
#include <linux/serial_reg.h>

#include "vmm.h"

static bool dlab(const struct uart *uart)
{
	return uart->lcr & UART_LCR_DLAB;
}

bool uart_irq(const struct uart *uart)
{
	return uart->ier & UART_IER_THRI && uart->thr_empty;
}

/* In loopback mode the modem control outputs are the modem status inputs. */
static uint8_t modem_status(const struct uart *uart)
{
	uint8_t msr = 0;

	if (!(uart->mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	if (uart->mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (uart->mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (uart->mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (uart->mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

static uint8_t identify_irq(struct uart *uart)
{
	uint8_t fifo = uart->fcr & UART_FCR_ENABLE_FIFO ? 0xc0 : 0;

	if (!uart_irq(uart))
		return fifo | UART_IIR_NO_INT;
	uart->thr_empty = 0;		/* cleared by the read */
	return fifo | UART_IIR_THRI;
}

uint8_t uart_read(struct uart *uart, uint16_t reg)
{
	switch (reg) {
	case UART_RX:
		return dlab(uart) ? uart->dll : 0;
	case UART_IER:
		return dlab(uart) ? uart->dlm : uart->ier;
	case UART_IIR:
		return identify_irq(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return UART_LSR_THRE | UART_LSR_TEMT;
	case UART_MSR:
		return modem_status(uart);
	default:
		return uart->scr;
	}
}

int uart_write(struct uart *uart, uint16_t reg, uint8_t value)
{
	switch (reg) {
	case UART_TX:
		if (dlab(uart)) {
			uart->dll = value;
			return -1;
		}
		uart->thr_empty = 1;
		return uart->mcr & UART_MCR_LOOP ? -1 : value;
	case UART_IER:
		if (dlab(uart)) {
			uart->dlm = value;
			return -1;
		}
		if (value & ~uart->ier & UART_IER_THRI)
			uart->thr_empty = 1;
		uart->ier = value & 0x0f;
		return -1;
	case UART_FCR:
		uart->fcr = value;
		return -1;
	case UART_LCR:
		uart->lcr = value;
		return -1;
	case UART_MCR:
		uart->mcr = value & 0x1f;
		return -1;
	case UART_SCR:
		uart->scr = value;
		return -1;
	default:
		return -1;
	}
}
