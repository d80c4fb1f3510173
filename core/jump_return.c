/* SPDX-License-Identifier: MIT */
/*
 * jump_return.c - where functions marked WEIR__JUMP_RETURN go to return.
 */
#include "core/jump_return.h"

#ifdef WEIR__HAS_JUMP_RETURN
/* Weak: a program that brings its own keeps it. */
__asm__(".pushsection .text\n"
	".weak __x86_return_thunk\n"
	".hidden __x86_return_thunk\n"
	".type __x86_return_thunk, @function\n"
	".p2align 4\n"
	"__x86_return_thunk:\n"
	"	pop %rcx\n"
	"	jmp *%rcx\n"
	".size __x86_return_thunk, .-__x86_return_thunk\n"
	".popsection");
#endif
