/*
 * A careful reader of ftrace's raw pages.
 *
 * In: the folder per_cpu of a tracefs instance, a folder to write to, the size of a sub-buffer, the pause between two
 * looks in milliseconds. Out: a file for each CPU, of the pages as the kernel gives them, each cut to what it holds.
 *
 * What makes it careful: one thread, whose id the instance leaves out; of a page only the committed bytes are written,
 * in pieces of a megabyte; nobody is woken, it looks every few milliseconds. A reader that writes whole pages and small
 * pieces traces mostly itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_CPUS 1024
#define PIECE (1u << 20)
/* A sub-buffer begins with its time and the bytes that are committed; the two high bits of these tell of losses. */
#define HEADER 16
#define COMMITTED 0x3fffffffu

struct cpu {
	int in, out;
	char *piece;
	size_t filled;
};

static struct cpu cpus[MOST_CPUS];
static int count;
static unsigned long long bytes;
static volatile sig_atomic_t ending;

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static void fail(const char *what)
{
	fprintf(stderr, "ftrace_reader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void flush(struct cpu *cpu)
{
	for (size_t done = 0; done < cpu->filled;) {
		ssize_t length = write(cpu->out, cpu->piece + done, cpu->filled - done);
		if (length < 0)
			fail("writing");
		done += length;
	}
	bytes += cpu->filled;
	cpu->filled = 0;
}

/* Reads until nothing is left, at most `most` sub-buffers: one CPU must not keep the others waiting. */
static void drain(struct cpu *cpu, size_t page, int most)
{
	while (most--) {
		if (cpu->filled + page > PIECE)
			flush(cpu);
		char *at = cpu->piece + cpu->filled;
		ssize_t length = read(cpu->in, at, page);
		if (length <= 0) {
			if (length < 0 && errno != EAGAIN && errno != EINTR)
				fail("reading");
			return;
		}
		uint64_t committed;
		memcpy(&committed, at + 8, sizeof committed);
		size_t used = HEADER + (committed & COMMITTED);
		cpu->filled += used < (size_t)length ? used : (size_t)length;
	}
}

static void look_into(const char *folder, const char *target)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;
	char path[4096];
	int number;

	if (!entries)
		fail(folder);
	while ((entry = readdir(entries)) && count < MOST_CPUS) {
		if (sscanf(entry->d_name, "cpu%d", &number) != 1)
			continue;
		struct cpu *cpu = &cpus[count++];
		snprintf(path, sizeof path, "%s/%s/trace_pipe_raw", folder, entry->d_name);
		cpu->in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		snprintf(path, sizeof path, "%s/%s", target, entry->d_name);
		cpu->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		cpu->piece = malloc(PIECE);
		if (cpu->in < 0 || cpu->out < 0 || !cpu->piece)
			fail(path);
	}
	closedir(entries);
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: ftrace_reader PER_CPU TARGET SUBBUFFER MILLISECONDS\n");
		return 2;
	}
	size_t page = strtoul(argv[3], NULL, 10);
	long pause = strtol(argv[4], NULL, 10);
	struct timespec nap = { pause / 1000, pause % 1000 * 1000000 };
	struct sigaction action = { .sa_handler = end };

	if (page < 4096 || page > PIECE || pause < 0) {
		fprintf(stderr, "ftrace_reader: a sub-buffer has 4096 to %u bytes\n", PIECE);
		return 2;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	look_into(argv[1], argv[2]);
	puts("ready");
	fflush(stdout);
	while (!ending) {
		nanosleep(&nap, NULL);
		for (int i = 0; i < count; i++)
			drain(&cpus[i], page, 4096);
	}
	/* Tracing is off by now: this comes to an end. */
	for (int i = 0; i < count; i++) {
		drain(&cpus[i], page, 1 << 20);
		flush(&cpus[i]);
	}
	printf("%llu\n", bytes);
	return 0;
}
