// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Unix sockets that have a path: stale ones, their removal, peers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve.h"

#define LOCK_TRIES	50
#define LOCK_WAIT_US	20000
#define RETRY_US	100000

/*
 * Two daemons that start at the same time must not remove each other's socket:
 * a lock of the directory protects the test and the removal. Returns the
 * descriptor that holds it, or -1.
 */
static int lock_directory(const char *path, struct lazy_error *error)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *dir;
	int fd;

	strcpy(copy, path);
	dir = dirname(copy);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot open the directory %s: %m", dir);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES) {
			lazy_error_set(error, LAZY_E_SYSTEM,
				       "cannot lock the directory %s: %m", dir);
			close(fd);
			return -1;
		}
		usleep(LOCK_WAIT_US);
	}
	return fd;
}

/* Removes a socket that no process listens on. */
static int remove_stale(const struct sockaddr_un *address,
			struct lazy_error *error)
{
	const char *path = address->sun_path;
	struct stat st;
	int fd, ret;

	if (lstat(path, &st)) {
		if (errno == ENOENT)
			return 0;
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot use %s: %m", path);
	}
	if (!S_ISSOCK(st.st_mode))
		return lazy_error_set(error, LAZY_E_ARGUMENT,
				      "%s exists and is not a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot create a socket: %m");
	ret = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	if (ret && errno == ECONNREFUSED)
		ret = unlink(path);
	else
		errno = EADDRINUSE, ret = -1;
	if (ret)
		lazy_error_set(error, LAZY_E_SYSTEM, "cannot use %s: %m", path);
	close(fd);
	return ret;
}

static int bind_socket(int fd, const struct sockaddr_un *address, mode_t mode,
		       struct path_socket *s, struct lazy_error *error)
{
	const char *path = address->sun_path;
	mode_t mask = umask(~mode & 0777);
	int ret = bind(fd, (const struct sockaddr *)address, sizeof(*address));
	struct stat st;

	umask(mask);
	if (ret || lstat(path, &st))
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot bind %s: %m", path);
	if (listen(fd, SOMAXCONN)) {
		lazy_error_set(error, LAZY_E_SYSTEM,
			       "cannot listen on %s: %m", path);
		unlink(path);
		return -1;
	}
	s->fd = fd;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

int socket_listen(const char *path, mode_t mode, struct path_socket *s,
		  struct lazy_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int lock, fd, ret;

	*s = (struct path_socket) { .fd = -1, .path = path };
	if (!*path || strlen(path) >= sizeof(address.sun_path))
		return lazy_error_set(error, LAZY_E_ARGUMENT,
				      "the path of a socket has 1 to %zu bytes: %s",
				      sizeof(address.sun_path) - 1, path);
	strcpy(address.sun_path, path);
	lock = lock_directory(path, error);
	if (lock < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		ret = lazy_error_set(error, LAZY_E_SYSTEM,
				     "cannot create a socket: %m");
	else
		ret = remove_stale(&address, error) ?:
		      bind_socket(fd, &address, mode, s, error);
	if (ret && fd >= 0)
		close(fd);
	close(lock);
	return ret;
}

void socket_close(struct path_socket *s)
{
	struct stat st;

	if (s->fd < 0)
		return;
	if (!lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
	s->fd = -1;
}

int socket_accept(const struct path_socket *s, const uid_t *uids, size_t nr,
		  pid_t *pid)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return -1;
		/* It may take a while until there is a free descriptor. */
		say("cannot accept a connection: %m");
		usleep(RETRY_US);
		return -1;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
		say("cannot get the credentials of a peer: %m");
		close(fd);
		return -1;
	}
	for (size_t i = 0; i < nr; i++) {
		if (uids[i] != peer.uid)
			continue;
		*pid = peer.pid;
		return fd;
	}
	say("refused process %d of user %u: not allowed", peer.pid, peer.uid);
	close(fd);
	return -1;
}
