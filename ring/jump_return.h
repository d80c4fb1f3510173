/* SPDX-License-Identifier: MIT */
/*
 * jump_return.h - system calls whose return costs nothing.
 *
 * Virtual machines and some mitigations leave the processor without the return addresses
 * it had remembered before a system call, so the first `ret` after one is mispredicted: 70 ns
 * to 150 ns measured here, a fifth of a cached read. An indirect jump does not suffer.
 * A function marked WEIR__JUMP_RETURN returns with `pop; jmp`; it pays from the system
 * call up to the first function that runs on (a loop) instead of returning itself.
 *
 * Not with shadow stacks (-fcf-protection=return), which forbid it, nor where the
 * compiler lacks the attribute: then it is an ordinary return.
 */
#ifndef WEIR_RING_SYSCALL_H
#define WEIR_RING_SYSCALL_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR__SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEIR__SANITIZED 1
#endif
#endif

#if defined(__x86_64__) && defined(__has_attribute) && !defined(WEIR__SANITIZED) &&             \
	!(defined(__CET__) && (__CET__ & 2))
#if __has_attribute(function_return)
/* The compiler emits `jmp __x86_return_thunk`, which kernel_uring.c defines. */
#define WEIR__JUMP_RETURN __attribute__((function_return("thunk-extern")))
#endif
#endif

#ifdef WEIR__JUMP_RETURN
#define WEIR__HAS_JUMP_RETURN 1
#else
#define WEIR__JUMP_RETURN
#endif

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
