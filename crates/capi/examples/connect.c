/* A connect that doesn't wait, one that is refused, and one that nobody answers. */
#include "common.h"

/* Begins to connect, waits at most so many milliseconds, and says how it went: an errno, or 0. */
static int try_to_connect(sockeye_host *host, struct sockaddr_in address, int timeout) {
  int fd = (int)TRY(sockeye_socket(host, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  int error = 0;
  socklen_t length = sizeof error;

  if (sockeye_connect(host, fd, (struct sockaddr *)&address, sizeof address) == -1) {
    MUST(errno == EINPROGRESS);
    struct pollfd polled = {fd, POLLOUT, 0};
    if (TRY(sockeye_poll(host, &polled, 1, timeout)) == 0) {
      error = ETIMEDOUT;
    } else {
      TRY(sockeye_getsockopt(host, fd, SOL_SOCKET, SO_ERROR, &error, &length));
    }
  }
  TRY(sockeye_close(host, fd));
  return error;
}

int main(void) {
  sockeye_network *network = sockeye_network_new(NULL);
  MADE(network);
  sockeye_host *web = sockeye_host_new(network, "web", NULL, NULL);
  MADE(web);
  sockeye_host *dead = sockeye_host_new(network, "dead", NULL, "loss 100%");
  MADE(dead);
  sockeye_host *me = sockeye_host_new(network, "me", NULL, "delay 2ms");
  MADE(me);

  int listener = (int)TRY(sockeye_socket(web, AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in address = address_of(web, 80);
  TRY(sockeye_bind(web, listener, (struct sockaddr *)&address, sizeof address));
  TRY(sockeye_listen(web, listener, 1));

  MUST(try_to_connect(me, address, 5000) == 0);
  int refused = try_to_connect(me, address_of(web, 81), 5000);
  int silent = try_to_connect(me, address_of(dead, 80), 20);
  MUST(refused == ECONNREFUSED && silent == ETIMEDOUT);

  sockeye_host_free(me);
  sockeye_host_free(dead);
  sockeye_host_free(web);
  sockeye_network_free(network);
  printf("port 80: connected; port 81: %s; ", strerror(refused));
  printf("the dead host: %s\n", strerror(silent));
  return 0;
}
