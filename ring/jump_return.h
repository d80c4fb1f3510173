/* SPDX-License-Identifier: MIT */
/*
 * jump_return.h - system calls whose return costs nothing: in the caller itself, which returns by
 * a jump (core/jump_return.h).
 */
#ifndef WEIR_RING_SYSCALL_H
#define WEIR_RING_SYSCALL_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/jump_return.h"

/* A system call of up to six arguments, in the caller itself. Returns its result or -errno. */
static inline __attribute__((always_inline)) long weir__syscall(long number, const long args[6])
{
#if defined(__x86_64__) && !defined(WEIR__SANITIZED)
	register long r10 __asm__("r10") = args[3];
	register long r8 __asm__("r8") = args[4];
	register long r9 __asm__("r9") = args[5];
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(number), "D"(args[0]), "S"(args[1]), "d"(args[2]), "r"(r10),
			   "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
#else
	long r = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);

	return r < 0 ? -errno : r;
#endif
}

#endif
