/* SPDX-License-Identifier: MIT */
/*
 * jump_return.h - functions that return by a jump, where the processor does not know where to.
 *
 * A `ret` is predicted by the calls that were made before it. After a switch to another coroutine,
 * and after a system call on virtual machines and under some mitigations, those are of no use, and
 * the first `ret` costs 6 to 9 ns, or 70 to 150 ns (measured here; a fifth of a cached read). An
 * indirect jump is predicted by where it went before. A function marked WEIR__JUMP_RETURN returns
 * with `pop; jmp`; it pays up to the first function that runs on (a loop) instead of returning
 * itself.
 *
 * Not with shadow stacks (-fcf-protection=return), which forbid it, nor where the
 * compiler lacks the attribute: then it is an ordinary return.
 */
#ifndef WEIR_CORE_JUMP_RETURN_H
#define WEIR_CORE_JUMP_RETURN_H

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
/* The compiler emits `jmp __x86_return_thunk`, which jump_return.c defines. */
#define WEIR__JUMP_RETURN __attribute__((function_return("thunk-extern")))
#endif
#endif

#ifdef WEIR__JUMP_RETURN
#define WEIR__HAS_JUMP_RETURN 1
#else
#define WEIR__JUMP_RETURN
#endif

#endif
