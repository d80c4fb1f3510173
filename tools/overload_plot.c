/* SPDX-License-Identifier: MIT */
/*
 * overload_plot.c - the plot of weir overload, as SVG: for each amount of work a column, goodput
 * above, latency below, both over time, without and with admission.
 */
#include "tools/overload.h"

#include <math.h>
#include <stdio.h>

#define WIDTH 420.0			/* of a panel */
#define HEIGHT 180.0
#define LEFT 60.0
#define TOP 50.0
#define GAP_X 80.0
#define GAP_Y 60.0
#define BUCKETS 80
#define GOODPUT_MAX 2.2			/* in capacities */
#define DECADES 4			/* of latency, from the work's own */

static const char *const colors[2] = { "#c0392b", "#1f6fb2" };
static const char *const labels[2] = { "without admission", "with admission" };

struct panel {
	FILE *out;
	double left, top;
};

static double x_of(const struct panel *panel, const struct overload_run *run, int64_t at_ns)
{
	return panel->left + WIDTH * (double)at_ns / (double)run->run_ns;
}

static void put_text(const struct panel *panel, double x, double y, const char *anchor,
		     const char *text)
{
	fprintf(panel->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y,
		anchor, text);
}

static void put_line(const struct panel *panel, double y, const char *text)
{
	fprintf(panel->out,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
		panel->left, y, panel->left + WIDTH, y);
	put_text(panel, panel->left - 6, y + 4, "end", text);
}

static void put_phases(const struct panel *panel, const struct overload_run *run)
{
	int64_t from_ns = 0;

	for (unsigned i = 0; i < OVERLOAD_PHASES; from_ns = run->ends_ns[i++]) {
		double x = x_of(panel, run, from_ns), end = x_of(panel, run, run->ends_ns[i]);

		fprintf(panel->out,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
			"fill=\"%s\"/>\n",
			x, panel->top, end - x, HEIGHT,
			overload_phases[i].load > 1 ? "#f6eee3" : "#f8f8f8");
		put_text(panel, (x + end) / 2, panel->top + HEIGHT + 16, "middle",
			 overload_phases[i].name);
	}
}

static double clamp(double value, double low, double high)
{
	return value < low ? low : value > high ? high : value;
}

static double goodput_y(const struct overload_run *run, int64_t from_ns, int64_t to_ns)
{
	double part = overload_goodput(run, from_ns, to_ns) / run->capacity;

	return HEIGHT * (1 - clamp(part / GOODPUT_MAX, 0, 1));
}

static double offered_y(const struct overload_run *run, int64_t from_ns, int64_t to_ns)
{
	double part = overload_offered(run, from_ns, to_ns) / run->capacity;

	return HEIGHT * (1 - clamp(part / GOODPUT_MAX, 0, 1));
}

/* < 0: nobody was answered. */
static double latency_y(const struct overload_run *run, int64_t from_ns, int64_t to_ns)
{
	int64_t p99_ns = overload_percentile(run, from_ns, to_ns, 99);
	double decades = p99_ns ? log10((double)p99_ns / (double)run->work_ns) : -1;

	return p99_ns ? HEIGHT * (1 - clamp(decades / DECADES, 0, 1)) : -1;
}

static void put_curve(const struct panel *panel, const struct overload_run *run,
		      double (*y_of)(const struct overload_run *, int64_t, int64_t),
		      const char *style)
{
	bool begun = false;

	fprintf(panel->out, "<path fill=\"none\" %s d=\"", style);
	for (int64_t i = 0; i < BUCKETS; i++) {
		int64_t from_ns = run->run_ns * i / BUCKETS,
			to_ns = run->run_ns * (i + 1) / BUCKETS;
		double y = y_of(run, from_ns, to_ns);

		if (y < 0)
			continue;
		fprintf(panel->out, "%s%.1f %.1f", begun ? " L" : "M",
			x_of(panel, run, (from_ns + to_ns) / 2), panel->top + y);
		begun = true;
	}
	fprintf(panel->out, "\"/>\n");
}

static void put_goodput(const struct panel *panel, const struct overload_run *runs)
{
	char text[80];

	put_phases(panel, runs);
	put_line(panel, panel->top + HEIGHT * (1 - 1 / GOODPUT_MAX), "100 %");
	put_line(panel, panel->top + HEIGHT, "0");
	snprintf(text, sizeof(text), "good answers, %g ms of work, in parts of %.0f/s",
		 (double)runs->work_ns / 1e6, runs->capacity);
	put_text(panel, panel->left, panel->top - 8, "start", text);
	put_curve(panel, runs, offered_y, "stroke=\"#999\" stroke-dasharray=\"3 3\"");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "stroke=\"%s\" stroke-width=\"1.5\"", colors[i]);
		put_curve(panel, &runs[i], goodput_y, text);
	}
}

static void put_latency(const struct panel *panel, const struct overload_run *runs)
{
	char text[80];

	put_phases(panel, runs);
	for (int i = 0; i <= DECADES; i++) {
		snprintf(text, sizeof(text), "%g ms", (double)runs->work_ns / 1e6 * pow(10, i));
		put_line(panel, panel->top + HEIGHT * (1 - (double)i / DECADES), text);
	}
	put_text(panel, panel->left, panel->top - 8, "start",
		 "p99 of what was answered, from when it was sent");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "stroke=\"%s\" stroke-width=\"1.5\"", colors[i]);
		put_curve(panel, &runs[i], latency_y, text);
	}
}

static void put_legend(FILE *out)
{
	double x = LEFT;

	for (unsigned i = 0; i < 2; i++, x += 160)
		fprintf(out, "<text x=\"%.1f\" y=\"18\" fill=\"%s\">%s</text>\n", x, colors[i],
			labels[i]);
	fprintf(out, "<text x=\"%.1f\" y=\"18\" fill=\"#777\">offered (dashed)</text>\n", x);
}

int overload_plot(const char *path, const struct overload_run *runs, unsigned count)
{
	double width = LEFT + count * (WIDTH + GAP_X), height = TOP + 2 * (HEIGHT + GAP_Y);
	FILE *out = fopen(path, "we");
	bool failed;

	if (!out)
		return -errno;
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		width, height);
	put_legend(out);
	for (unsigned i = 0; i < count; i++) {
		struct panel panel = { out, LEFT + i * (WIDTH + GAP_X), TOP };

		put_goodput(&panel, &runs[2 * (size_t)i]);
		panel.top += HEIGHT + GAP_Y;
		put_latency(&panel, &runs[2 * (size_t)i]);
	}
	fprintf(out, "</svg>\n");
	failed = ferror(out);
	return fclose(out) || failed ? -EIO : 0;
}
