/* libsockeye: sockets in user space, on hosts of networks in memory.
 *
 * The calls are those of the system's sockets, by the same names with a host before the rest: they take the structures
 * and constants of the system's headers, and return what those return, with -1 and errno when they fail. README.md
 * beside this file's source says where they differ.
 *
 *     sockeye_network *net = sockeye_network_new(NULL);
 *     sockeye_host *web = sockeye_host_new(net, "web", NULL, NULL);
 *     sockeye_host *me = sockeye_host_new(net, "me", NULL, "delay 20ms loss 2%");
 *     int listener = sockeye_socket(web, AF_INET, SOCK_STREAM, 0);
 *
 * Any thread may make any call. Signals don't end calls that wait, and a process that forks must not use in the child
 * what it made before. Of all pointers null is looked for (EFAULT).
 *
 * Written by `cargo xtask header` from crates/capi/src: change that, and run it. */

#ifndef SOCKEYE_H
#define SOCKEYE_H

#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* What strict C hides: complete with _GNU_SOURCE. */
struct addrinfo;
struct mmsghdr;
struct timespec;

/**
 * A host of a network, with the sockets of the programs on it.
 */
typedef struct sockeye_host sockeye_host;

/**
 * A network of hosts.
 */
typedef struct sockeye_network sockeye_network;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a network without hosts.
 *
 * `settings` are words, or null for none of them:
 *
 * - `seed N`: everything random (loss, ports, sequence numbers) depends on this number alone;
 * - `mtu BYTES`: the largest packet of its links, 1280 to 65535; 1500 unless stated;
 * - `subnet ADDRESS/PREFIX`: the hosts' addresses, of IPv4 or IPv6 (or both, stated one after the other);
 *   10.77.0.0/16 and fd77::/64 unless stated;
 * - `virtual`: time stands still but for calls that wait, and those return at once with the clock set to when they
 *   would have. For programs of one thread: a call that waits for what never comes fails with EDEADLK.
 *
 * Without `virtual` the network runs by the machine's clock, with one thread of its own.
 *
 * Returns null and sets `errno` when it fails: EINVAL for settings that are wrong, EAGAIN when there is no thread to be
 * had. sockeye_last_error() says what was wrong.
 *
 * Pointers: `settings` is null or a string that ends with a zero.
 */
sockeye_network *sockeye_network_new(const char *settings);

/**
 * Gives a network back. Null is read over.
 *
 * The network itself goes on until its hosts are given back too (sockeye_host_free): what waits for its sockets or moves
 * between them isn't disturbed. No hosts can be added any more, and the pointer must not be used again.
 *
 * Pointers: `network` is null, or comes from sockeye_network_new() and was not given back.
 */
void sockeye_network_free(sockeye_network *network);

/**
 * The time of a network in nanoseconds since it was made: the machine's, or the virtual one. 0 for null.
 *
 * Pointers: `network` is null, or was not given back.
 */
uint64_t sockeye_network_now(const sockeye_network *network);

/**
 * Lets so many nanoseconds pass: sleeps, or, in a network of virtual time, has everything happen until then and
 * returns at once.
 *
 * Returns 0; -1 with EFAULT for a null pointer.
 *
 * Pointers: `network` is null, or was not given back.
 */
int sockeye_network_sleep(const sockeye_network *network,
                          uint64_t nanoseconds);

/**
 * Adds a host to a network, and returns a handle to it.
 *
 * `name` is one label of letters, digits and hyphens, by which other hosts find it (sockeye_getaddrinfo). `address` is
 * its address in one of the network's subnets, as text; null or "" for the next free one. It has an address of the
 * other family too, with the same number. `link` says what its link does to packets, each way, in the words of lab
 * files: "delay 20ms loss 2%", "rate 10mbit limit 50"; null or "" for a perfect one.
 *
 * Returns null and sets `errno` when it fails: EINVAL for a bad name, address or link, EEXIST when another host has the
 * name or the address, EADDRNOTAVAIL when the subnet is full. sockeye_last_error() says what was wrong.
 *
 * Pointers: `network` is null, or was not given back; the others are null or strings that end with a zero.
 */
sockeye_host *sockeye_host_new(const sockeye_network *network,
                               const char *name,
                               const char *address,
                               const char *link);

/**
 * Gives a host back: closes its sockets, as sockeye_close() does one by one, and ends the calls that wait for them with
 * EBADF. Null is read over.
 *
 * The host stays in its network, and what it has still to send is sent; to take it away at once, call
 * sockeye_host_remove() before. Calls on it that other threads have begun end well; none may begin with this pointer any
 * more. When the network and all its hosts have been given back, they are gone, and so is the network's thread.
 *
 * Pointers: `host` is null, or comes from sockeye_host_new() and was not given back.
 */
void sockeye_host_free(sockeye_host *host);

/**
 * Takes a host out of its network, with a reset to the peers of its connections. Calls on its sockets fail with
 * ECONNRESET from now on, and new sockets can't be made; its name and addresses are free. It has still to be given back.
 *
 * Returns 0; -1 with EFAULT for a null pointer.
 *
 * Pointers: `host` is null, or was not given back.
 */
int sockeye_host_remove(const sockeye_host *host);

/**
 * Changes what a host's link does to packets from now on, in the words of sockeye_host_new(): to those it sends
 * (`outgoing`) and to those it receives (`incoming`). "" is a perfect link; null leaves that direction as it is.
 *
 * Returns 0; -1 with EINVAL for bad words, which sockeye_last_error() explains, or EFAULT without a host.
 *
 * Pointers: `host` is null, or was not given back; the others are null or strings that end with a zero.
 */
int sockeye_host_set_link(const sockeye_host *host,
                          const char *outgoing,
                          const char *incoming);

/**
 * Writes what a host sends and receives from now on to a file, in pcapng, which tcpdump and wireshark read. The file is
 * complete when the network is gone.
 *
 * Returns 0; -1 with EBUSY when it is captured already, the errno of opening the file when that fails, or EFAULT.
 * sockeye_last_error() says what was wrong.
 *
 * Pointers: `host` is null, or was not given back; `file` is null or a string that ends with a zero.
 */
int sockeye_host_capture(const sockeye_host *host,
                         const char *file);

/**
 * Writes a host's own address of a family, AF_INET or AF_INET6, as getsockname(2) would, with port 0.
 *
 * Returns 0; -1 with EAFNOSUPPORT for another family, EINVAL for a negative length, or EFAULT.
 *
 * Pointers: `host` is null, or was not given back; `addr` is null, or has as many bytes as the number says that `len` points to.
 */
int sockeye_host_address(const sockeye_host *host,
                         int family,
                         struct sockaddr *addr,
                         socklen_t *len);

/**
 * Writes a host's name, and a zero behind it, as gethostname(2).
 *
 * Returns 0; -1 with ENAMETOOLONG when there is no room for all of it, or EFAULT.
 *
 * Pointers: `host` is null, or was not given back; `name` is null, or has `len` bytes.
 */
int sockeye_gethostname(const sockeye_host *host, char *name, size_t len);

/**
 * What was wrong with the calling thread's latest `sockeye_network_*` or `sockeye_host_*` call that failed, in one line
 * of English that says what to do about it. An empty string when none has failed. It stays until the thread's next
 * such failure; it must not be freed.
 *
 * The socket calls say what went wrong by `errno` alone.
 */
const char *sockeye_last_error(void);

/**
 * Makes a socket on a host, as socket(2) with `domain` AF_INET or AF_INET6, `type` SOCK_STREAM (TCP), SOCK_DGRAM (UDP;
 * IPPROTO_UDPLITE; IPPROTO_ICMP and IPPROTO_ICMPV6 for pings) or SOCK_RAW with a protocol, which needs no rights here, and
 * SOCK_NONBLOCK if it shall not wait.
 *
 * Returns a descriptor, which this library's calls know for this host, and nobody else; no number is used again for
 * long. -1 with the errno of socket(2) when it fails, and ENETUNREACH on a host that was removed.
 *
 * Pointers: `host` is null, or was not given back.
 */
int sockeye_socket(const sockeye_host *host,
                   int domain,
                   int type,
                   int protocol);

/**
 * Binds a socket to a local address, as bind(2).
 *
 * Pointers: `host` is null, or was not given back; `addr` is null, or has `len` bytes.
 */
int sockeye_bind(const sockeye_host *host, int fd, const struct sockaddr *addr, socklen_t len);

/**
 * Has a stream socket accept connections, as listen(2). A socket that isn't bound listens at a port that is picked.
 *
 * Pointers: `host` is null, or was not given back.
 */
int sockeye_listen(const sockeye_host *host,
                   int fd,
                   int backlog);

/**
 * Takes a connection that waits at a listener, as accept(2). Waits for one, at most as long as SO_RCVTIMEO says, unless
 * the listener is O_NONBLOCK; the new socket is not. `addr` may be null.
 *
 * Pointers: As sockeye_accept4().
 */
int sockeye_accept(const sockeye_host *host,
                   int fd,
                   struct sockaddr *addr,
                   socklen_t *len);

/**
 * As sockeye_accept(); with SOCK_NONBLOCK in `flags` the new socket is O_NONBLOCK.
 *
 * Pointers: `host` is null, or was not given back; `addr` is null, or has as many bytes as the number says that `len` points to.
 */
int sockeye_accept4(const sockeye_host *host,
                    int fd,
                    struct sockaddr *addr,
                    socklen_t *len,
                    int flags);

/**
 * Connects a socket, as connect(2): of TCP it waits until the connection is open or has failed, at most as long as
 * SO_SNDTIMEO says (then it goes on by itself: EINPROGRESS); on an O_NONBLOCK socket it returns -1 with EINPROGRESS at once,
 * and the socket becomes writable when it is over (sockeye_poll; SO_ERROR says how).
 *
 * Pointers: `host` is null, or was not given back; `addr` is null, or has `len` bytes.
 */
int sockeye_connect(const sockeye_host *host,
                    int fd,
                    const struct sockaddr *addr,
                    socklen_t len);

/**
 * Ends one direction of a connection, or both, as shutdown(2).
 *
 * Pointers: `host` is null, or was not given back.
 */
int sockeye_shutdown(const sockeye_host *host, int fd, int how);

/**
 * Closes a socket, as close(2). A connection's last data is still sent; this never waits for that, SO_LINGER or not
 * (with a time of 0 the connection is reset). Calls of other threads that wait for the socket fail with EBADF.
 *
 * Pointers: `host` is null, or was not given back.
 */
int sockeye_close(const sockeye_host *host,
                  int fd);

/**
 * Writes a socket's own address, as getsockname(2).
 *
 * Pointers: `host` is null, or was not given back; `addr` is null, or has as many bytes as the number says that `len` points to.
 */
int sockeye_getsockname(const sockeye_host *host,
                        int fd,
                        struct sockaddr *addr,
                        socklen_t *len);

/**
 * Writes the address of a socket's peer, as getpeername(2).
 *
 * Pointers: As sockeye_getsockname().
 */
int sockeye_getpeername(const sockeye_host *host, int fd, struct sockaddr *addr, socklen_t *len);

/**
 * Sends data, as send(2): sendto() without an address.
 *
 * Pointers: `host` is null, or was not given back; `data` is null, or has `len` bytes.
 */
ssize_t sockeye_send(const sockeye_host *host, int fd, const void *data, size_t len, int flags);

/**
 * Sends data, as sendto(2), with flags MSG_DONTWAIT, MSG_MORE, MSG_OOB, MSG_EOR, MSG_DONTROUTE; others are read over. There is never
 * a SIGPIPE, whatever the flags: EPIPE is all.
 *
 * Waits, unless the socket is O_NONBLOCK, until a stream has room for all of it or a datagram fits the socket's buffer,
 * at most as long as SO_SNDTIMEO says: then it returns what was taken, or -1 with EAGAIN if that is nothing.
 *
 * Pointers: `host` is null, or was not given back; `data` and `addr` are null, or have `len` and `addrlen` bytes.
 */
ssize_t sockeye_sendto(const sockeye_host *host,
                       int fd,
                       const void *data,
                       size_t len,
                       int flags,
                       const struct sockaddr *addr,
                       socklen_t addrlen);

/**
 * Receives data, as recv(2): recvfrom() without an address.
 *
 * Pointers: `host` is null, or was not given back; `buffer` is null, or has `len` bytes.
 */
ssize_t sockeye_recv(const sockeye_host *host, int fd, void *buffer, size_t len, int flags);

/**
 * Receives data, as recvfrom(2), with flags MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_DONTWAIT, MSG_OOB; others are read over.
 * `addr` may be null.
 *
 * Waits, unless the socket is O_NONBLOCK, until there is something, at most as long as SO_RCVTIMEO says: then it
 * returns -1 with EAGAIN. 0 is the end of a stream.
 *
 * Pointers: `host` is null, or was not given back; `buffer` is null, or has `len` bytes; `addr` is null, or has as many bytes as the number
 * says that `addrlen` points to.
 */
ssize_t sockeye_recvfrom(const sockeye_host *host,
                         int fd,
                         void *buffer,
                         size_t len,
                         int flags,
                         struct sockaddr *addr,
                         socklen_t *addrlen);

/**
 * Receives data, as read(2) on a socket: recv() without flags.
 *
 * Pointers: As sockeye_recv().
 */
ssize_t sockeye_read(const sockeye_host *host, int fd, void *buffer, size_t len);

/**
 * Sends data, as write(2) on a socket: send() without flags.
 *
 * Pointers: As sockeye_send().
 */
ssize_t sockeye_write(const sockeye_host *host, int fd, const void *data, size_t len);

/**
 * As sockeye_read(), into several buffers, one after the other; EINVAL for more than 1024.
 *
 * Pointers: `host` is null, or was not given back; `iov` is null, or has `count` entries that say how many bytes they point to.
 */
ssize_t sockeye_readv(const sockeye_host *host,
                      int fd,
                      const struct iovec *iov,
                      int count);

/**
 * As sockeye_write(), from several buffers, one after the other; EINVAL for more than 1024.
 *
 * Pointers: As sockeye_readv().
 */
ssize_t sockeye_writev(const sockeye_host *host, int fd, const struct iovec *iov, int count);

/**
 * Sends a message, as sendmsg(2), with the control messages IP_PKTINFO, IPV6_PKTINFO, IP_TTL, IPV6_HOPLIMIT, IP_TOS, IPV6_TCLASS
 * and UDP_SEGMENT. Flags and waiting are those of sockeye_sendto().
 *
 * Pointers: `host` is null, or was not given back; `message` is null, or what it points to has the lengths that it says.
 */
ssize_t sockeye_sendmsg(const sockeye_host *host,
                        int fd,
                        const struct msghdr *message,
                        int flags);

/**
 * Receives a message, as recvmsg(2), with the control messages that the socket's options ask for (IP_PKTINFO, IP_RECVTTL,
 * IP_RECVTOS, IPV6_RECVPKTINFO, SO_TIMESTAMPNS, SO_RXQ_OVFL, UDP_GRO, …); with MSG_ERRQUEUE a report of the error queue (IP_RECVERR). Other
 * flags and waiting are those of sockeye_recvfrom().
 *
 * Pointers: As sockeye_sendmsg(), and nobody else uses that memory meanwhile.
 */
ssize_t sockeye_recvmsg(const sockeye_host *host,
                        int fd,
                        struct msghdr *message,
                        int flags);

/**
 * Sends several messages, as sendmmsg(2): at most 1024. Returns how many were sent, and writes to each `msg_len` how much of
 * it; an error is told if it was the first's.
 *
 * Pointers: `host` is null, or was not given back; `messages` is null, or has `count` messages, which are as for sockeye_sendmsg().
 */
int sockeye_sendmmsg(const sockeye_host *host,
                     int fd,
                     struct mmsghdr *messages,
                     unsigned int count,
                     int flags);

/**
 * Receives several messages, as recvmmsg(2): at most 1024. Waits for all of them, or with MSG_WAITFORONE for the first only. With a
 * `timeout` it looks after each message whether the time is over, as the kernel does: one that doesn't come is
 * waited for as long as SO_RCVTIMEO says. The timeout isn't written back. Returns how many there are.
 *
 * Pointers: As sockeye_sendmmsg(); `timeout` is null, or points to a time.
 */
int sockeye_recvmmsg(const sockeye_host *host,
                     int fd,
                     struct mmsghdr *messages,
                     unsigned int count,
                     int flags,
                     struct timespec *timeout);

/**
 * Sets an option, as setsockopt(2). Which there are, and what each does here, is listed in docs/options.md.
 *
 * Pointers: `host` is null, or was not given back; `value` is null, or has `len` bytes (and what they point to, if they are a
 * `struct sock_fprog`).
 */
int sockeye_setsockopt(const sockeye_host *host,
                       int fd,
                       int level,
                       int name,
                       const void *value,
                       socklen_t len);

/**
 * Reads an option, as getsockopt(2).
 *
 * Pointers: `host` is null, or was not given back; `value` is null, or has as many bytes as the number says that `len` points to.
 */
int sockeye_getsockopt(const sockeye_host *host,
                       int fd,
                       int level,
                       int name,
                       void *value,
                       socklen_t *len);

/**
 * Reads or sets what a descriptor is like, as fcntl(2): F_GETFL and F_SETFL, of which O_NONBLOCK counts; F_GETFD and F_SETFD, which mean
 * nothing here. EINVAL for other commands. `arg` is an int, 0 where there is none.
 *
 * Pointers: `host` is null, or was not given back.
 */
int sockeye_fcntl(const sockeye_host *host,
                  int fd,
                  int command,
                  int arg);

/**
 * Asks a socket for a number, or sets one, as ioctl(2): FIONREAD (SIOCINQ), TIOCOUTQ (SIOCOUTQ), SIOCATMARK, FIONBIO. ENOTTY for other
 * requests. `arg` points to an int.
 *
 * Pointers: `host` is null, or was not given back; `arg` is null, or points to an int.
 */
int sockeye_ioctl(const sockeye_host *host,
                  int fd,
                  unsigned long request,
                  void *arg);

/**
 * Waits until one of several sockets of a host is ready, as poll(2): at most `timeout` milliseconds, for ever if that is
 * negative. Of one that is closed meanwhile it says POLLNVAL. Descriptors of the kernel may stand among them, for a
 * program that waits for both, unless time is virtual; then a signal may end the wait (EINTR).
 *
 * Returns how many are ready, 0 when the time is over. -1 with EFAULT, or EINVAL for more than 1,048,576 descriptors.
 *
 * Pointers: `host` is null, or was not given back; `fds` is null, or has `count` entries that nobody else uses meanwhile.
 */
int sockeye_poll(const sockeye_host *host,
                 struct pollfd *fds,
                 nfds_t count,
                 int timeout);

/**
 * Finds the addresses of a name and a service, as getaddrinfo(3): names are those of the network's hosts ("web" or
 * "web.sockeye"), "localhost" and addresses as text; services are the machine's. Nothing is asked on any network, so it
 * never waits. `hints` may be null.
 *
 * Returns 0 and writes a list to `result`, for sockeye_freeaddrinfo(); else an error for gai_strerror(3), EAI_SYSTEM with EFAULT
 * for a null `host` or `result`.
 *
 * Pointers: `host` is null, or was not given back; the strings are null or end with a zero; `hints` and `result` are null, or
 * point to one of their type.
 */
int sockeye_getaddrinfo(const sockeye_host *host,
                        const char *node,
                        const char *service,
                        const struct addrinfo *hints,
                        struct addrinfo **result);

/**
 * Frees a list of sockeye_getaddrinfo(). Null is read over.
 *
 * Pointers: `list` is null, or comes from sockeye_getaddrinfo() and wasn't freed.
 */
void sockeye_freeaddrinfo(struct addrinfo *list);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SOCKEYE_H */
