/* A bad network under virtual time: one thread is both ends, and minutes of waiting take no time. */
#include "common.h"

enum { SIZE = 1000000 };

int main(void) {
  static unsigned char data[SIZE], got[SIZE];
  for (int at = 0; at < SIZE; at++) data[at] = (unsigned char)(at * 31);

  sockeye_network *network = sockeye_network_new("virtual seed 7");
  MADE(network);
  sockeye_host *server = sockeye_host_new(network, "server", NULL, NULL);
  MADE(server);
  sockeye_host *me = sockeye_host_new(network, "me", NULL, "delay 40ms loss 2% rate 10mbit");
  MADE(me);

  /* By name, and by whichever family it has first. */
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
  MUST(sockeye_getaddrinfo(me, "server", "80", &hints, &list) == 0);
  int listener = (int)TRY(sockeye_socket(server, list->ai_family, list->ai_socktype, 0));
  TRY(sockeye_bind(server, listener, list->ai_addr, list->ai_addrlen));
  TRY(sockeye_listen(server, listener, 1));
  int near = (int)TRY(sockeye_socket(me, list->ai_family, list->ai_socktype, 0));
  TRY(sockeye_connect(me, near, list->ai_addr, list->ai_addrlen));
  sockeye_freeaddrinfo(list);
  int far = (int)TRY(sockeye_accept4(server, listener, NULL, NULL, SOCK_NONBLOCK));

  /* Neither end waits for the other: the one that has nothing to do lets time pass. */
  size_t sent = 0, received = 0;
  while (received < SIZE) {
    ssize_t count = sockeye_send(me, near, data + sent, SIZE - sent, MSG_DONTWAIT);
    if (count > 0) sent += (size_t)count;
    struct pollfd polled = {far, POLLIN, 0};
    if (TRY(sockeye_poll(server, &polled, 1, 10)) == 0) continue;
    received += (size_t)TRY(sockeye_read(server, far, got + received, SIZE - received));
  }
  MUST(memcmp(data, got, SIZE) == 0);
  uint64_t seconds = sockeye_network_now(network) / 1000000000;
  MUST(seconds >= 1 && seconds < 120);

  /* A link that fails, and is mended: the connection holds. */
  TRY(sockeye_host_set_link(me, "loss 100%", NULL));
  TRY(sockeye_write(me, near, "still there?", 12));
  TRY(sockeye_network_sleep(network, 60ULL * 1000000000));
  MUST(sockeye_read(server, far, got, SIZE) == -1 && errno == EAGAIN);
  TRY(sockeye_host_set_link(me, "", ""));
  struct pollfd polled = {far, POLLIN, 0};
  MUST(TRY(sockeye_poll(server, &polled, 1, 120000)) == 1);
  MUST(TRY(sockeye_read(server, far, got, SIZE)) == 12);

  sockeye_host_free(me);
  sockeye_host_free(server);
  sockeye_network_free(network);
  printf("a million bytes and an outage, all of them there\n");
  return 0;
}
