/* SPDX-License-Identifier: MIT */
/*
 * disk.h - the simulated disk: what programs see of files and directories (the page cache), and
 * what a power cut leaves of it.
 *
 * Contents have two versions: `now`, and `safe`, which is durable. What was written since the last
 * fsync is an entry of the file's log; fsync applies the log to `safe`, a power cut applies of each
 * entry all, nothing, a part, or garbage. Names have one log for each directory, in order, of which
 * a power cut loses the end; a rename is in the logs of both directories or in none.
 */
#ifndef WEIR_RING_SIM_DISK_H
#define WEIR_RING_SIM_DISK_H

#include "ring/sim/world.h"

#define WEIR_SIM_PAGE 4096

struct weir_sim_content {
	char **pages; /* NULL: a hole */
	size_t pages_size;
	size_t pages_used; /* that are not holes */
	uint64_t size;	   /* of the file */
};

/* Something written and not synced: bytes; without data, zeros; without a size, a new size. */
struct weir_sim_change {
	struct weir_link link;
	uint64_t offset, size;
	char *data;
	bool is_safe; /* written through, while something before it was not */
};

struct weir_sim_inode;

struct weir_sim_name {
	char *name;
	struct weir_sim_inode *inode;
};

struct weir_sim_names {
	struct weir_sim_name *list; /* in the order of their making */
	unsigned count, size;
};

/* A name that was made (inode) or taken away (NULL), and is not synced. */
struct weir_sim_rename {
	struct weir_link link;
	uint64_t serial;	     /* of the disk; the two halves of a rename have the same */
	struct weir_sim_inode *mate; /* the directory of the other half; NULL: there is none */
	char *name;
	struct weir_sim_inode *inode;
};

struct weir_sim_inode {
	struct weir_sim_inode *next, **prev; /* of the disk */
	struct weir_sim_disk *disk;
	uint64_t number;
	unsigned mode; /* S_IFREG ... and permissions */
	unsigned links;
	unsigned opens;
	unsigned refs; /* from names, now, safe and in logs; opens; as a parent */
	bool is_gone;  /* no name now, not open: a power cut may bring it back */
	bool is_reached;
	bool is_dead; /* on the disk's list of those without a reference */
	struct weir_sim_inode *next_dead;
	int64_t changed_ns;

	struct weir_sim_content now, safe; /* of a file */
	struct weir_queue log;		   /* of weir_sim_change */
	unsigned errors;		   /* of its fsyncs so far */
	bool errors_told;		   /* to somebody: who opens it now is not told again */

	struct weir_sim_names names, safe_names; /* of a directory */
	struct weir_queue names_log;		 /* of weir_sim_rename */
	uint64_t lost_from; /* at a power cut: the serial of the first that is lost */
	struct weir_sim_inode *parent;

	char *target;		      /* of a symbolic link */
	struct weir_sim_file *socket; /* of a socket node */
};

struct weir_sim_disk {
	struct weir_sim_host *host;
	struct weir_sim_inode *root;
	struct weir_sim_inode *inodes, *dead;
	uint64_t serial;	    /* of inodes */
	unsigned files;		    /* that are not gone */
	uint64_t changes;	    /* of names, so far */
	uint64_t used;		    /* bytes in pages of `now` */
	int broken;		    /* what every write fails with until healed; 0 */
	struct weir_sim_event swap; /* somebody truncates this one */
	struct weir_sim_inode *swapped;
};

struct weir_sim_open {
	struct weir_sim_file file;
	struct weir_sim_inode *inode;
	int64_t position;
	unsigned errors; /* of the inode's that it knows of */
};

/* What io-wq takes. */
#define WEIR_SIM_WQ_NS (40 * WEIR_US)

extern const struct weir_sim_file_ops weir__sim_disk_file_ops;

static inline struct weir_sim_open *weir__sim_open_of(struct weir_sim_file *file)
{
	return weir_container_of(file, struct weir_sim_open, file);
}

/* disk.c: contents. Bytes, or -errno. */
/* NULL: as many as there may be, or no memory. Without references. */
struct weir_sim_inode *weir__sim_inode_create(struct weir_sim_disk *disk, unsigned mode);
void weir__sim_inode_get(struct weir_sim_inode *inode);
/* Without a reference it lives on until weir__sim_disk_bury(). */
void weir__sim_inode_put(struct weir_sim_inode *inode);
void weir__sim_disk_bury(struct weir_sim_disk *disk);
/* Its last name or descriptor may be gone. */
void weir__sim_inode_settle(struct weir_sim_inode *inode);
int64_t weir__sim_inode_read(const struct weir_sim_content *content, uint64_t offset,
			     const struct iovec *iov, int count, size_t size);
int64_t weir__sim_inode_write(struct weir_sim_inode *inode, uint64_t offset,
			      const struct iovec *iov, int count, size_t size);
int weir__sim_inode_resize(struct weir_sim_inode *inode, uint64_t size);
/* Zeros, the whole pages among them given back. size is not 0. */
int weir__sim_inode_punch(struct weir_sim_inode *inode, uint64_t offset, uint64_t size);
/* Takes the space for what is written there later. */
int weir__sim_inode_reserve(struct weir_sim_inode *inode, uint64_t offset, uint64_t size);
void weir__sim_inode_sync(struct weir_sim_inode *inode);
/* The last write alone, and the size. */
void weir__sim_inode_sync_last(struct weir_sim_inode *inode);
/* A failed fsync: what was not synced never will be. */
void weir__sim_inode_forget(struct weir_sim_inode *inode);

/* What the end of a path is asked for. */
enum weir_sim_end {
	WEIR_SIM_FOLLOW,   /* a symbolic link there is followed */
	WEIR_SIM_NOFOLLOW, /* only when a slash comes after it */
	WEIR_SIM_NAME,	   /* never; what a slash means is the caller's */
};

enum weir_sim_last { WEIR_SIM_NORMAL, WEIR_SIM_ROOT, WEIR_SIM_DOT, WEIR_SIM_DOTDOT };

struct weir_sim_walk {
	struct weir_sim_inode *dir; /* where the last name is, or would be */
	char name[256];		    /* "" unless last is NORMAL */
	enum weir_sim_last last;
	bool slash;		      /* comes after the last name */
	struct weir_sim_inode *inode; /* what it is; NULL: there is no such name */
};

/* disk_names.c: names. */
struct weir_sim_inode *weir__sim_name_find(const struct weir_sim_inode *dir, const char *name,
					   size_t size);
int weir__sim_name_add(struct weir_sim_inode *dir, const char *name, struct weir_sim_inode *inode);
int weir__sim_name_remove(struct weir_sim_inode *dir, const char *name);
/* Takes from's place in the directory and gives what it names a place in to; all or nothing. */
int weir__sim_name_move(const struct weir_sim_walk *from, const struct weir_sim_walk *to);
void weir__sim_names_sync(struct weir_sim_inode *dir);
unsigned weir__sim_names_unsynced(const struct weir_sim_inode *dir);
/*
 * A power cut, in three steps: of each directory, so many of the last changes are lost; of each,
 * until none says true, what another has lost half of; each is as it is then.
 */
void weir__sim_names_lose(struct weir_sim_inode *dir, unsigned lost);
bool weir__sim_names_agree(struct weir_sim_inode *dir);
void weir__sim_names_cut(struct weir_sim_inode *dir);
void weir__sim_names_free(struct weir_sim_inode *dir);

/* resolve: RESOLVE_* of openat2. */
int weir__sim_walk(struct weir_sim_inode *base, const char *path, enum weir_sim_end end,
		   uint64_t resolve, struct weir_sim_walk *ret);
/* The directory that path in host begins at; or, when it is empty, the file that dirfd is. */
int weir__sim_base(struct weir_sim_host *host, int dirfd, const char *path,
		   struct weir_sim_inode **ret);

/* disk_paths.c */
void weir__sim_disk_stat(const struct weir_sim_inode *inode, struct statx *ret_stat);

/* disk_file.c: faults. What a transfer fails with before it did anything; 0: nothing. */
int weir__sim_transfer_fault(struct weir_sim_host *host, bool is_write);
/* Somebody else truncates the file soon after it was opened. */
void weir__sim_swap_soon(struct weir_sim_inode *inode);
/* What fsync says: each open file is told of an error once. last: only of the last write. */
int weir__sim_disk_sync(struct weir_sim_open *open, bool last);
/* In and out of an open file at offset (-1: its position), as preadv2 and pwritev2 do. */
int64_t weir__sim_disk_in(struct weir_sim_open *open, const struct iovec *iov, int count,
			  int64_t offset, int flags);
int64_t weir__sim_disk_out(struct weir_sim_open *open, const struct iovec *iov, int count,
			   int64_t offset, int flags);

#endif
