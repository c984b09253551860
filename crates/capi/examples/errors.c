/* What goes wrong is said as the system says it: -1 and errno; and of descriptions in words. */
#include "common.h"

/* Says what a call failed with, which must be this. */
static void expect(const char *what, long value, int expected) {
  MUST(value == -1 && errno == expected);
  printf("%s: %s\n", what, strerror(errno));
}

int main(void) {
  MUST(sockeye_network_new("mtu 10") == NULL && errno == EINVAL);
  printf("%s\n", sockeye_last_error());
  sockeye_network *network = sockeye_network_new(NULL);
  MADE(network);
  sockeye_host *me = sockeye_host_new(network, "me", NULL, NULL);
  MADE(me);
  MUST(sockeye_host_new(network, "me", NULL, NULL) == NULL && errno == EEXIST);
  printf("%s\n", sockeye_last_error());
  MUST(sockeye_host_new(network, "you", NULL, "delay long") == NULL && errno == EINVAL);
  printf("%s\n", sockeye_last_error());

  int fd = (int)TRY(sockeye_socket(me, AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in mine = address_of(me, 80), nobodys = mine;
  nobodys.sin_addr.s_addr = inet_addr("192.0.2.1");
  char byte = 0;
  expect("recv before connect", sockeye_recv(me, fd, &byte, 1, 0), ENOTCONN);
  expect("recv into nothing", sockeye_recv(me, fd, NULL, 1, 0), EFAULT);
  expect("send before connect", sockeye_send(me, fd, &byte, 1, 0), EPIPE);
  expect("bind to another's address", sockeye_bind(me, fd, (struct sockaddr *)&nobodys, sizeof nobodys), EADDRNOTAVAIL);
  expect("bind to half an address", sockeye_bind(me, fd, (struct sockaddr *)&mine, 8), EINVAL);
  expect("connect where nobody listens", sockeye_connect(me, fd, (struct sockaddr *)&mine, sizeof mine), ECONNREFUSED);
  expect("a family that there isn't", sockeye_socket(me, AF_UNIX, SOCK_STREAM, 0), EAFNOSUPPORT);
  TRY(sockeye_close(me, fd));
  expect("close again", sockeye_close(me, fd), EBADF);
  expect("one of the kernel's", sockeye_write(me, 1, &byte, 1), EBADF);

  struct addrinfo *list = NULL;
  int failed = sockeye_getaddrinfo(me, "nobody", "80", NULL, &list);
  MUST(failed == EAI_NONAME);
  printf("nobody: %s\n", gai_strerror(failed));
  sockeye_host_free(me);
  sockeye_network_free(network);
  return 0;
}
