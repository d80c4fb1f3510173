/* SPDX-License-Identifier: MIT */
/* absent.c - a world without network and disk. */
#include "ring/sim/sim.h"
__attribute__((weak)) int weir__sim_net_create(struct weir_sim *sim){(void)sim;return 0;}
__attribute__((weak)) void weir__sim_net_destroy(struct weir_sim *sim){(void)sim;}
__attribute__((weak)) int weir__sim_nic_create(struct weir_sim_host *host){(void)host;return 0;}
__attribute__((weak)) void weir__sim_nic_destroy(struct weir_sim_host *host){(void)host;}
__attribute__((weak)) void weir__sim_nic_power_cut(struct weir_sim_host *host){(void)host;}
__attribute__((weak)) void weir__sim_net_heal(struct weir_sim *sim){(void)sim;}
__attribute__((weak)) int weir__sim_socket(struct weir_sim_host *host, int domain, int type,
					   int protocol, struct weir_sim_file **ret_file)
{
	return -EAFNOSUPPORT;
}
__attribute__((weak)) void weir__sim_net_ops(struct weir_kernel_ops *ops){}
__attribute__((weak)) int weir__sim_disk_create(struct weir_sim_host *host){return 0;}
__attribute__((weak)) void weir__sim_disk_destroy(struct weir_sim_host *host){}
__attribute__((weak)) void weir__sim_disk_power_cut(struct weir_sim_host *host){}
__attribute__((weak)) void weir__sim_disk_heal(struct weir_sim_host *host){}
__attribute__((weak)) int weir__sim_path_issue(struct weir_sim_req *req){return -ENOENT;}
__attribute__((weak)) void weir__sim_disk_ops(struct weir_kernel_ops *ops){}
