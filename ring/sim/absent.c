/* SPDX-License-Identifier: MIT */
/* absent.c - a world without network and disk. */
#include "ring/sim/sim.h"
__attribute__((weak)) int weir__sim_disk_create(struct weir_sim_host *host){return 0;}
__attribute__((weak)) void weir__sim_disk_destroy(struct weir_sim_host *host){}
__attribute__((weak)) void weir__sim_disk_power_cut(struct weir_sim_host *host){}
__attribute__((weak)) void weir__sim_disk_heal(struct weir_sim_host *host){}
__attribute__((weak)) int weir__sim_path_issue(struct weir_sim_req *req){return -ENOENT;}
__attribute__((weak)) void weir__sim_disk_ops(struct weir_kernel_ops *ops){}
__attribute__((weak)) int weir__sim_disk_bind(struct weir_sim_host *host, const char *path,
					      struct weir_sim_file *file)
{
	return 0;
}
__attribute__((weak)) struct weir_sim_file *weir__sim_disk_lookup(struct weir_sim_host *host,
								  const char *path)
{
	return NULL;
}
__attribute__((weak)) int weir_sim_put_dir(struct weir_sim_host *host, const char *path)
{
	return 0;
}
__attribute__((weak)) int weir_sim_put_file(struct weir_sim_host *host, const char *path,
					    const void *data, size_t size)
{
	return 0;
}
__attribute__((weak)) int64_t weir_sim_get_file(struct weir_sim_host *host, const char *path,
						void *data, size_t size, bool durable)
{
	return -ENOENT;
}
