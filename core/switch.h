/* SPDX-License-Identifier: MIT */
/*
 * switch.h - from one stack to another in about a nanosecond, on x86-64 and AArch64.
 *
 * The switch is inlined where it happens and tells the compiler that every register is
 * lost, so the compiler saves what is alive there and nothing else (the idea is Photon's,
 * github.com/alibaba/PhotonLibOS, thread/thread.cpp). What remains by hand are the stack
 * pointer, the frame pointer, which no compiler lets go, and where to continue. It ends with
 * an indirect jump: a return to an address that no call has pushed is always predicted wrong.
 * Measured in a loop of switches: 1.0 ns this way, 4.7 ns as a function that saves the
 * callee-saved registers and jumps, 9.6 ns when it returns.
 *
 * Not switched: the floating-point control words (rounding, exceptions: mxcsr and x87
 * control word, FPCR). Reading and comparing mxcsr alone costs 6 ns a switch. They belong
 * to the thread: see the dangers in README.md.
 *
 * A shadow stack (x86 CET) is not switched either; the build says so to the linker with
 * -fcf-protection=branch, and landing pads for indirect-branch tracking are there.
 */
#ifndef WEIR_CORE_SWITCH_H
#define WEIR_CORE_SWITCH_H

#include <stdint.h>

/* Where somebody who is not running will continue. */
struct weir_context {
	void *sp;
	void *pc;
	void *fp;
};

/*
 * The lowest part of what a stack begins with: pc's caller, who is nobody, so that
 * backtraces end here. Aligned to 16.
 */
struct weir_context_root {
	void *pad;
	void *return_address;
};

/* Makes context run entry, which never returns, on the stack that grows down from root. */
static inline void weir__context_make(struct weir_context *context,
				      struct weir_context_root *root, void (*entry)(void))
{
	root->return_address = NULL;
	context->pc = (void *)(uintptr_t)entry;
	context->fp = NULL;
#if defined(__x86_64__)
	context->sp = &root->return_address;
#else
	context->sp = root;
#endif
}

/*
 * Stores here in from and continues at to; comes back when somebody switches to from, on
 * the same thread.
 */
static inline __attribute__((always_inline)) void weir__context_switch(struct weir_context *from,
								       struct weir_context *to)
{
#if defined(__x86_64__)
	__asm__ volatile("leaq 1f(%%rip), %%rcx\n\t"
			 "movq %%rsp, 0(%0)\n\t"
			 "movq %%rcx, 8(%0)\n\t"
			 "movq %%rbp, 16(%0)\n\t"
			 "movq 0(%1), %%rsp\n\t"
			 "movq 16(%1), %%rbp\n\t"
			 "jmpq *8(%1)\n\t"
			 ".p2align 4\n"
			 "1:\n\t"
			 "endbr64\n"
			 : "+a"(from), "+d"(to)
			 :
			 : "rbx", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
			   "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15",
#ifdef __AVX512F__
			   "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
			   "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31",
			   "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#endif
			   "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)",
			   "cc", "memory");
#elif defined(__aarch64__)
	register struct weir_context *x0 __asm__("x0") = from;
	register struct weir_context *x1 __asm__("x1") = to;

	/* x30 is cleared for a context that was made: it is the root's return address. */
	__asm__ volatile("adr x16, 1f\n\t"
			 "mov x17, sp\n\t"
			 "stp x17, x16, [%0]\n\t"
			 "str x29, [%0, #16]\n\t"
			 "ldp x17, x16, [%1]\n\t"
			 "ldr x29, [%1, #16]\n\t"
			 "mov sp, x17\n\t"
			 "mov x30, xzr\n\t"
			 "br x16\n"
			 "1:\n\t"
			 "hint #36\n" /* bti j */
			 : "+r"(x0), "+r"(x1)
			 :
			 : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
			   "x13", "x14", "x15", "x16", "x17", "x19", "x20", "x21", "x22", "x23",
			   "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4",
			   "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
			   "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",
			   "v26", "v27", "v28", "v29", "v30", "v31", "cc", "memory");
#else
#error "weir switches stacks on x86-64 and AArch64 only"
#endif
}

#endif
