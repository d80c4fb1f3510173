/* SPDX-License-Identifier: MIT */
/*
 * net.c - the links between hosts, and each host's interface to them.
 *
 * Each ordered pair of hosts has a link of its own, so a partition may be one-way. Faults of the
 * network are the world's, not a host's: they strike reliable hosts too.
 */
#include "ring/sim/net.h"

#include <stdlib.h>
#include <string.h>

#define LOOP_NS (5 * WEIR_US)
#define LATENCY_NS (50 * WEIR_US)
#define JITTER_NS (8 * WEIR_US)
#define SLOW_NS_MAX (500 * WEIR_MS)
#define CUT_NS_MAX (60 * WEIR_S)
#define CLOG_NS_MAX (10 * WEIR_S)

#define FIRST_PORT 32768

static struct weir_sim_link *link_of(const struct weir_sim_host *from,
				     const struct weir_sim_host *to)
{
	return &from->sim->net->links[from->index][to->index];
}

/* --- life --- */

int weir__sim_net_create(struct weir_sim *sim)
{
	struct weir_sim_net *net = calloc(1, sizeof(*net));

	if (!net)
		return -ENOMEM;
	net->sim = sim;
	weir__list_init(&net->streams);
	weir__list_init(&net->dgrams);
	for (unsigned i = 0; i < WEIR_SIM_HOSTS; i++) {
		for (unsigned j = 0; j < WEIR_SIM_HOSTS; j++) {
			net->links[i][j].latency_ns = i == j ? LOOP_NS : LATENCY_NS;
			net->links[i][j].jitter_ns = i == j ? 0 : JITTER_NS;
		}
	}
	sim->net = net;
	return 0;
}

void weir__sim_net_destroy(struct weir_sim *sim)
{
	struct weir_sim_net *net = sim->net;
	struct weir_sim_chunk *chunk;
	struct weir_sim_stream *stream;
	struct weir_sim_socket *sock;
	struct weir_node *node;

	if (!net)
		return;
	while ((node = weir__list_pop(&net->streams))) {
		stream = weir_container_of(node, struct weir_sim_stream, node);
		weir__sim_bytes_drop(net, &stream->way[0].bytes);
		weir__sim_bytes_drop(net, &stream->way[1].bytes);
		free(stream);
	}
	while ((stream = net->spare)) {
		net->spare = stream->next;
		free(stream);
	}
	while ((sock = net->spare_sockets)) {
		net->spare_sockets = sock->spare;
		free(sock);
	}
	while ((chunk = net->chunks)) {
		net->chunks = chunk->next;
		free(chunk);
	}
	weir__sim_dgrams_destroy(net);
	free(net);
	sim->net = NULL;
}

int weir__sim_nic_create(struct weir_sim_host *host)
{
	struct weir_sim_nic *nic = calloc(1, sizeof(*nic));

	if (!nic)
		return -ENOMEM;
	for (unsigned i = 0; i < WEIR_SIM_PORT_BUCKETS; i++) {
		weir__list_init(&nic->ports[0][i]);
		weir__list_init(&nic->ports[1][i]);
	}
	weir__list_init(&nic->sockets);
	weir__list_init(&nic->names);
	nic->next_port = FIRST_PORT;
	host->nic = nic;
	return 0;
}

void weir__sim_nic_destroy(struct weir_sim_host *host)
{
	free(host->nic);
	host->nic = NULL;
}

/* The machine is back as soon as a process is. */
bool weir__sim_nic_is_off(const struct weir_sim_host *host)
{
	return host->nic->is_off && host->life == host->nic->off_life;
}

void weir__sim_nic_power_cut(struct weir_sim_host *host)
{
	struct weir_node *head = &host->nic->sockets;

	host->nic->is_off = true;
	host->nic->off_life = host->life;
	for (struct weir_node *node = head->next; node != head; node = node->next) {
		struct weir_sim_socket *sock =
			weir_container_of(node, struct weir_sim_socket, nic_node);

		if (sock->stream)
			weir__sim_stream_leave(sock, false, true);
	}
}

/* --- what a packet meets --- */

bool weir__sim_net_is_cut(const struct weir_sim_host *from, const struct weir_sim_host *to)
{
	const struct weir_sim_link *link = link_of(from, to);

	if (weir_unlikely(to->nic->is_off || from->nic->is_off) &&
	    (weir__sim_nic_is_off(to) || weir__sim_nic_is_off(from)))
		return true;
	return link->is_cut || link->cut_until_ns > from->sim->now_ns;
}

static void cut(struct weir_sim_host *from, struct weir_sim_host *to, int64_t until_ns)
{
	if (from != to)
		link_of(from, to)->cut_until_ns = until_ns;
}

static void isolate(struct weir_sim_host *host, int64_t until_ns)
{
	struct weir_sim *sim = host->sim;

	for (unsigned i = 0; i < sim->hosts_count; i++) {
		cut(host, sim->hosts[i], until_ns);
		cut(sim->hosts[i], host, until_ns);
	}
}

/* A partition or a clog begins. */
static void strike(struct weir_sim_host *from, struct weir_sim_host *to)
{
	struct weir_sim *sim = from->sim;
	unsigned how = weir__sim_choose(sim, from, "cut-how", 4);
	int64_t ns = weir__sim_delay(sim, from, "cut-for", how == 3 ? CLOG_NS_MAX : CUT_NS_MAX);
	int64_t until_ns = sim->now_ns + WEIR_MS + ns;

	weir__sim_trace(sim, from, "net-cut", to->index, how);
	switch (how) {
	case 0:
		cut(from, to, until_ns);
		break;
	case 1:
		cut(from, to, until_ns);
		cut(to, from, until_ns);
		break;
	case 2:
		isolate(to, until_ns);
		break;
	default:
		link_of(from, to)->clog_until_ns = until_ns;
		break;
	}
}

int64_t weir__sim_net_latency(struct weir_sim_host *from, struct weir_sim_host *to)
{
	struct weir_sim_link *link = link_of(from, to);
	struct weir_sim *sim = from->sim;
	int64_t ns = link->latency_ns;

	if (from == to)
		return ns;
	if (link->jitter_ns)
		ns += link->jitter_ns * weir__sim_choose(sim, from, "jitter", 16) / 15;
	if (!(sim->armed & (WEIR_SIM_PARTITION | WEIR_SIM_LATENCY)) || sim->healed)
		return ns;
	if (weir__sim_fault(sim, NULL, WEIR_SIM_PARTITION, "cut"))
		strike(from, to);
	if (link->clog_until_ns > sim->now_ns)
		ns += link->clog_until_ns - sim->now_ns;
	if (weir__sim_fault(sim, NULL, WEIR_SIM_LATENCY, "slow"))
		ns += weir__sim_delay(sim, from, "slow-by", SLOW_NS_MAX);
	return ns;
}

/* --- the end of the faults --- */

void weir__sim_net_heal(struct weir_sim *sim)
{
	struct weir_node *head = &sim->net->streams;
	struct weir_node *next;

	for (unsigned i = 0; i < sim->hosts_count; i++) {
		for (unsigned j = 0; j < sim->hosts_count; j++) {
			struct weir_sim_link *link = &sim->net->links[i][j];

			link->is_cut = false;
			link->cut_until_ns = 0;
			link->clog_until_ns = 0;
		}
	}
	for (struct weir_node *node = head->next; node != head; node = next) {
		next = node->next;
		weir__sim_stream_heal(weir_container_of(node, struct weir_sim_stream, node));
	}
}

/* --- for scenarios --- */

static void set_links(struct weir_sim *sim, const struct weir_sim_host *a,
		      const struct weir_sim_host *b, const struct weir_sim_link *set)
{
	for (unsigned i = 0; i < WEIR_SIM_HOSTS; i++) {
		for (unsigned j = 0; j < WEIR_SIM_HOSTS; j++) {
			struct weir_sim_link *link = &sim->net->links[i][j];

			if (i == j || (a && a->index != i) || (b && b->index != j))
				continue;
			if (set->latency_ns < 0) {
				link->is_cut = set->is_cut;
				link->cut_until_ns = 0;
			} else {
				link->latency_ns = set->latency_ns;
				link->jitter_ns = set->jitter_ns;
			}
		}
	}
}

void weir_sim_partition(struct weir_sim_host *a, struct weir_sim_host *b, bool cut)
{
	const struct weir_sim_link set = { .latency_ns = -1, .is_cut = cut };

	set_links(weir__sim, a, b, &set);
	weir__sim_trace(weir__sim, a, "net-partition", b ? (int64_t)b->index : -1, cut);
}

void weir_sim_link(struct weir_sim_host *a, struct weir_sim_host *b, int64_t latency_ns,
		   int64_t jitter_ns)
{
	const struct weir_sim_link set = { .latency_ns = latency_ns, .jitter_ns = jitter_ns };

	weir_assert(latency_ns >= 0 && jitter_ns >= 0);
	set_links(weir__sim, a, b, &set);
}
