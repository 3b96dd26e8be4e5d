// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of the server: it fills each memory type with the content of the source,
 * driven by steps and by threads; it never writes a page twice, adapts what it
 * fills around faults, and after a failure no access waits or reads zeroes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>

#include "memory.h"

static const unsigned int drivers[] = { 0, 1, 4 };

#define FOR_ALL(kind, threads)						\
	FOR_EACH_KIND(kind)						\
		for (unsigned int i_ = 0, threads = 0; i_ < 3 &&	\
		     ((threads = drivers[i_]), 1); i_++)

TEST(all_is_filled_without_faults)
{
	struct memory m;
	struct lazy_stats s;

	FOR_ALL(kind, threads) {
		make_memory(&m, kind, 0);
		serve(&m, threads);
		CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
		s = stats_of(&m);
		CHECK_EQ(0, s.demand);
		CHECK_EQ(kind->pages, s.background + s.found);
		check_content(&m);
		end(&m);
	}
}

TEST(each_page_is_filled_when_it_is_touched)
{
	struct memory m;
	struct lazy_stats s;

	FOR_ALL(kind, threads) {
		make_memory(&m, kind, 0);
		m.config.flags = LAZY_NO_BACKGROUND;
		m.config.around = LAZY_AROUND_NONE;
		serve(&m, threads);
		for (size_t i = 0; i < kind->pages; i++)
			CHECK(is_same(&m, i * 11 % kind->pages), "%s",
			      kind->name);
		CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
		/* The last fault is counted after its page is filled. */
		halt(&m);
		s = stats_of(&m);
		CHECK_EQ(kind->pages, s.demand);
		CHECK_EQ(kind->pages, s.faults);
		end(&m);
	}
}

TEST(faults_and_background_at_the_same_time)
{
	struct memory m;

	FOR_ALL(kind, threads) {
		make_memory(&m, kind, 0);
		m.config.range = kind->granule;
		serve(&m, threads);
		for (size_t i = 0; i < kind->pages; i++)
			CHECK(is_same(&m, i * 7 % kind->pages), "%s",
			      kind->name);
		CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
		check_content(&m);
		end(&m);
	}
}

/* Each thread increments a byte of each page, once. */
static void *increment(void *arg)
{
	struct memory *m = arg;

	for (size_t i = 0; i < m->kind->pages; i++) {
		_Atomic char *byte = (_Atomic char *)m->at +
				     i * 5 % m->kind->pages * m->kind->granule;

		atomic_fetch_add(byte + 8, 1);
	}
	return NULL;
}

TEST(no_page_is_written_twice)
{
	pthread_t guest[4];
	struct memory m;

	for (int round = 0; round < (int)scaled(10); round++) {
		FOR_ALL(kind, threads) {
			make_memory(&m, kind, 0);
			m.config.range = 4 * kind->granule;
			serve(&m, threads);
			for (int i = 0; i < 4; i++)
				pthread_create(&guest[i], NULL, increment, &m);
			for (int i = 0; i < 4; i++)
				pthread_join(guest[i], NULL);
			CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
			/* A thread may still read it, in vain. */
			halt(&m);
			for (size_t i = 0; i < kind->pages; i++)
				m.content[i * kind->granule + 8] += 4;
			check_content(&m);
			end(&m);
		}
	}
}

/* Each page is filled protected, and its first write is a fault. */
TEST(writes_are_faults)
{
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	struct memory m;

	for (int threads = 0; threads < 3; threads++) {
		make_memory(&m, &kinds[0], UFFD_FEATURE_PAGEFAULT_FLAG_WP);
		reg.range.start = m.region.address;
		reg.range.len = m.region.len;
		CHECK(!ioctl(m.uffd, UFFDIO_REGISTER, &reg), "%s",
		      strerror(errno));
		m.region.flags |= LAZY_REGION_PROTECT;
		serve(&m, threads);
		CHECK(reaches(&m, LAZY_FILLED));
		for (int round = 0; round < 2; round++) {
			for (size_t i = 0; i < m.kind->pages; i++)
				m.at[i * PAGE] ^= 0xff;
			usleep(SETTLE_MS * 1000);
			CHECK_EQ(m.kind->pages, stats_of(&m).writes);
		}
		check_content(&m);
		end(&m);
	}
}

TEST(the_order_is_followed)
{
	static const uint64_t order[] = { 9 * PAGE, 5 * PAGE, 6 * PAGE, 1 * PAGE };
	unsigned char there[16];
	struct memory m;
	int ms;

	make_memory(&m, &kinds[1], 0);
	m.config.order = order;
	m.config.nr_order = 4;
	m.config.range = PAGE;
	m.server = lazy_server_new(&m.config, &m.err);
	for (size_t i = 0; i < 4; i++) {
		CHECK(!lazy_server_step(m.server, &ms, &m.err));
		mincore(m.at, sizeof(there) * PAGE, there);
		for (size_t j = 0; j < sizeof(there); j++) {
			bool wanted = false;

			for (size_t k = 0; k <= i; k++)
				wanted |= order[k] == j * PAGE;
			CHECK_EQ(wanted, there[j] & 1);
		}
	}
	lazy_server_free(m.server);
}

static uint64_t reported[8];
static size_t nr_reported;

static void on_fault(void *arg, uint64_t offset)
{
	(void)arg;
	reported[nr_reported++ % 8] = offset;
}

TEST(first_faults_are_reported)
{
	struct memory m;

	make_memory(&m, &kinds[0], 0);
	m.config.flags = LAZY_NO_BACKGROUND;
	m.config.on_fault = on_fault;
	serve(&m, 2);
	CHECK(is_same(&m, 9));
	/* They are reported after their waiters are woken. */
	usleep(SETTLE_MS * 1000);
	CHECK(is_same(&m, 300));
	CHECK(is_same(&m, 9));
	end(&m);
	CHECK_EQ(2, nr_reported);
	CHECK_EQ(9 * PAGE, reported[0]);
	CHECK_EQ(300 * PAGE, reported[1]);
}

/* ---- around faults ---- */

static const struct kind large = { "anon", PAGE, 16384, -1, 0, LAZY_COPY };

static void random_touches(struct memory *m, size_t nr)
{
	uint64_t x = 1;

	for (size_t i = 0; i < nr; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		CHECK(is_same(m, (x >> 33) % m->kind->pages));
	}
}

TEST(sequences_take_few_faults)
{
	struct memory m;

	make_memory(&m, &large, 0);
	m.config.flags = LAZY_NO_BACKGROUND;
	serve(&m, 0);
	check_content(&m);
	CHECK(stats_of(&m).faults < large.pages / 50, "%llu faults",
	      (unsigned long long)stats_of(&m).faults);
	end(&m);
}

TEST(sparse_accesses_fill_little)
{
	struct memory m;
	struct lazy_stats s;

	make_memory(&m, &large, 0);
	m.config.flags = LAZY_NO_BACKGROUND;
	serve(&m, 0);
	random_touches(&m, large.pages / 128);
	s = stats_of(&m);
	CHECK(s.demand < 3 * s.faults, "%llu pages for %llu faults",
	      (unsigned long long)s.demand, (unsigned long long)s.faults);
	end(&m);
}

TEST(dense_accesses_take_few_faults)
{
	struct memory m;
	struct lazy_stats s;

	make_memory(&m, &large, 0);
	m.config.flags = LAZY_NO_BACKGROUND;
	serve(&m, 0);
	random_touches(&m, 3 * large.pages);
	s = stats_of(&m);
	CHECK(s.faults * 8 < s.demand, "%llu pages for %llu faults",
	      (unsigned long long)s.demand, (unsigned long long)s.faults);
	end(&m);
}

/* ---- stop and start ---- */

TEST(no_fault_is_lost_when_threads_stop)
{
	pthread_t guest[4];
	struct memory m;

	for (int mode = 0; mode < 2; mode++) {
		make_memory(&m, &kinds[0], mode ? UFFD_FEATURE_EVENT_REMOVE : 0);
		m.config.flags = LAZY_NO_BACKGROUND;
		m.config.around = LAZY_AROUND_NONE;
		serve(&m, 2);
		for (int i = 0; i < 4; i++)
			pthread_create(&guest[i], NULL, increment, &m);
		for (int i = 0; i < (int)scaled(100); i++) {
			lazy_server_stop(m.server);
			CHECK(!lazy_server_start(m.server, 1 + i % 3, &m.err));
			usleep(i * 10);
		}
		for (int i = 0; i < 4; i++)
			pthread_join(guest[i], NULL);
		CHECK(reaches(&m, LAZY_FILLED));
		end(&m);
	}
}

TEST(the_background_can_start_later)
{
	struct memory m;

	for (int threads = 0; threads < 3; threads++) {
		make_memory(&m, &kinds[0], 0);
		m.config.flags = LAZY_NO_BACKGROUND;
		serve(&m, threads);
		CHECK(is_same(&m, 1));
		usleep(SETTLE_MS * 1000);
		CHECK_EQ(LAZY_SERVING, lazy_server_state(m.server, NULL));
		lazy_server_background(m.server, 1);
		CHECK(reaches(&m, LAZY_FILLED));
		check_content(&m);
		end(&m);
	}
}

static size_t open_descriptors(void)
{
	size_t nr = 0;

	for (int fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

TEST(everything_is_given_back)
{
	size_t before = open_descriptors();
	struct memory m;

	for (int i = 0; i < (int)scaled(100); i++) {
		make_memory(&m, &kinds[3], UFFD_FEATURE_EVENT_FORK);
		serve(&m, i % 3);
		CHECK(is_same(&m, i));
		end(&m);
	}
	CHECK_EQ(before, open_descriptors());
}

/* ---- failures ---- */

/*
 * The third page cannot be read. An access to it, in user mode and inside the
 * kernel, must neither wait for ever nor read zeroes.
 */
TEST(after_a_failure_nothing_waits_or_reads_zeroes)
{
	struct memory m;
	int zero = open("/dev/zero", O_RDONLY);

	FOR_ALL(kind, threads) {
		struct access a, advice;

		make_memory(&m, kind, UFFD_FEATURE_EVENT_REMOVE);
		m.config.flags = LAZY_NO_BACKGROUND;
		m.config.around = LAZY_AROUND_NONE;
		m.fail_at = 1;
		serve(&m, threads);
		CHECK(is_same(&m, 0));
		start_access(&a, m.at + kind->granule);
		CHECK(reaches(&m, LAZY_FAILED));
		CHECK_EQ(LAZY_E_SOURCE, m.err.code);
		CHECK(!strcmp(m.err.text, "damaged"), "%s", m.err.text);
		CHECK(!is_done(&a, SETTLE_MS));
		start_advice(&advice, m.at, kind->granule, MADV_DONTNEED);
		halt(&m);
		if (lazy_server_poison(m.server, &m.err)) {
			CHECK_EQ(LAZY_E_UNSUPPORTED, m.err.code);
			SKIP("%s", m.err.text);
		}
		CHECK(is_done(&a, LIMIT_MS), "%s", kind->name);
		CHECK(a.sigbus, "%s: read %d", kind->name, a.saw);
		CHECK(is_done(&advice, LIMIT_MS));
		CHECK_EQ(-1, read(zero, m.at + 3 * kind->granule, 1));
		end(&m);
	}
}

struct discarding {
	char *at;
	_Atomic bool stop, ended;
};

static void *discard(void *arg)
{
	struct discarding *d = arg;

	while (!d->stop)
		madvise(d->at, PAGE, MADV_DONTNEED);
	d->ended = true;
	return NULL;
}

static void gives_up_beside_a_discard(unsigned int round)
{
	struct discarding d = { };
	pthread_t thread;
	struct memory m;
	uint64_t deadline;

	make_memory(&m, &kinds[0], UFFD_FEATURE_EVENT_REMOVE);
	m.config.flags = LAZY_NO_BACKGROUND;
	serve(&m, 1);
	d.at = m.at;
	CHECK(!pthread_create(&thread, NULL, discard, &d));
	usleep(round % 8 * 100);
	halt(&m);
	if (lazy_server_poison(m.server, &m.err)) {
		CHECK_EQ(LAZY_E_UNSUPPORTED, m.err.code);
		SKIP("%s", m.err.text);
	}
	d.stop = true;
	deadline = now_ms() + LIMIT_MS;
	while (!d.ended) {
		CHECK(now_ms() < deadline, "round %u", round);
		usleep(100);
	}
	pthread_join(thread, NULL);
	end(&m);
}

/*
 * A balloon never stops the server from giving up, and is not left waiting: also
 * if both have one processor, where one runs only when the other waits.
 */
TEST(memory_is_poisoned_while_a_thread_discards)
{
	cpu_set_t all, one;
	int cpu = 0;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	for (unsigned int i = 0; i < scaled(40); i++) {
		CHECK(!sched_setaffinity(0, sizeof(all), i % 2 ? &one : &all));
		gives_up_beside_a_discard(i);
	}
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
}

/* The number of threads of this process that may run on one processor only. */
static int bound_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	cpu_set_t cpus;
	int nr = 0;

	CHECK(dir);
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) &&
		    !sched_getaffinity(atoi(entry->d_name), sizeof(cpus), &cpus))
			nr += CPU_COUNT(&cpus) == 1;
	closedir(dir);
	return nr;
}

TEST(a_thread_for_each_processor_is_bound_to_it)
{
	uint64_t deadline;
	struct memory m;
	cpu_set_t cpus;
	int nr;

	CHECK(!sched_getaffinity(0, sizeof(cpus), &cpus));
	nr = CPU_COUNT(&cpus);
	if (nr < 2 || nr > 8)
		SKIP("needs 2 to 8 processors");
	make_memory(&m, &kinds[0], 0);
	m.config.flags = LAZY_NO_BACKGROUND;
	serve(&m, nr);
	deadline = now_ms() + LIMIT_MS;
	while (bound_threads() != nr)
		CHECK(now_ms() < deadline, "%d of %d", bound_threads(), nr);
	lazy_server_background(m.server, 1);
	CHECK_EQ(0, bound_threads());
	CHECK(reaches(&m, LAZY_FILLED));
	check_content(&m);
	end(&m);
	make_memory(&m, &kinds[0], 0);
	m.config.flags = LAZY_NO_BACKGROUND;
	serve(&m, nr - 1);
	check_content(&m);
	CHECK_EQ(0, bound_threads());
	end(&m);
}

/* What a hypervisor does after its handler was killed. */
TEST(memory_without_a_server_can_be_poisoned)
{
	struct access a;
	struct memory m;

	FOR_EACH_KIND(kind) {
		make_memory(&m, kind, 0);
		m.config.flags = LAZY_NO_BACKGROUND;
		m.config.around = LAZY_AROUND_NONE;
		serve(&m, 0);
		CHECK(is_same(&m, 1));
		halt(&m);
		start_access(&a, m.at);
		CHECK(!is_done(&a, SETTLE_MS));
		if (lazy_poison(m.uffd, m.region.address, m.len,
				m.kind->granule, &m.err))
			SKIP("%s", m.err.text);
		CHECK(is_done(&a, LIMIT_MS) && a.sigbus);
		CHECK(is_same(&m, 1));
		end(&m);
	}
}

TEST(a_truncated_mapping_is_a_failure)
{
	struct memory m;
	struct access a;
	int fd = memfd_create("source", 0);
	void *map;

	for (int i = 0; i < 4; i++) {
		make_memory(&m, &kinds[i], 0);
		CHECK(!ftruncate(fd, m.len));
		map = mmap(NULL, m.len, PROT_READ, MAP_SHARED, fd, 0);
		CHECK(!ftruncate(fd, PAGE));
		m.source.map = map;
		m.source.read = NULL;
		m.config.flags = LAZY_NO_BACKGROUND;
		m.config.deadline_ms = SETTLE_MS;
		serve(&m, 1);
		start_access(&a, m.at + 9 * PAGE);
		CHECK(reaches(&m, LAZY_FAILED), "%s", kinds[i].name);
		CHECK(i > 1 || m.err.code == LAZY_E_SOURCE, "%s", m.err.text);
		CHECK(!a.done);
		halt(&m);
		lazy_server_poison(m.server, NULL);
		CHECK(is_done(&a, LIMIT_MS) && a.sigbus);
		end(&m);
	}
}
