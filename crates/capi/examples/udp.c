/* Datagrams: sendto and recvfrom, a timeout, and several by one call. */
#define _GNU_SOURCE
#include "common.h"

int main(void) {
  sockeye_network *network = sockeye_network_new(NULL);
  MADE(network);
  sockeye_host *server = sockeye_host_new(network, "server", NULL, NULL);
  MADE(server);
  sockeye_host *client = sockeye_host_new(network, "client", NULL, NULL);
  MADE(client);

  int theirs = (int)TRY(sockeye_socket(server, AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = address_of(server, 53);
  TRY(sockeye_bind(server, theirs, (struct sockaddr *)&address, sizeof address));
  int ours = (int)TRY(sockeye_socket(client, AF_INET, SOCK_DGRAM, 0));
  TRY(sockeye_sendto(client, ours, "where is ftp?", 13, 0, (struct sockaddr *)&address, sizeof address));

  char buffer[64];
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  long count = TRY(sockeye_recvfrom(server, theirs, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length));
  printf("server: \"%.*s\" from %s\n", (int)count, buffer, inet_ntoa(from.sin_addr));
  TRY(sockeye_sendto(server, theirs, "port 21", 7, 0, (struct sockaddr *)&from, length));
  count = TRY(sockeye_recv(client, ours, buffer, sizeof buffer, 0));
  printf("client: \"%.*s\"\n", (int)count, buffer);

  struct timeval limit = {0, 20000};
  TRY(sockeye_setsockopt(client, ours, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  MUST(sockeye_recv(client, ours, buffer, sizeof buffer, 0) == -1 && errno == EAGAIN);
  printf("client: no more in 20 ms: %s\n", strerror(errno));

  struct iovec parts[3] = {{(void *)"one", 3}, {(void *)"two", 3}, {(void *)"three", 5}};
  struct mmsghdr messages[3];
  memset(messages, 0, sizeof messages);
  for (int at = 0; at < 3; at++) {
    messages[at].msg_hdr.msg_iov = &parts[at];
    messages[at].msg_hdr.msg_iovlen = 1;
  }
  TRY(sockeye_connect(client, ours, (struct sockaddr *)&address, sizeof address));
  MUST(TRY(sockeye_sendmmsg(client, ours, messages, 3, 0)) == 3);
  char rooms[3][8];
  for (int at = 0; at < 3; at++) {
    parts[at].iov_base = rooms[at];
    parts[at].iov_len = sizeof rooms[at];
  }
  MUST(TRY(sockeye_recvmmsg(server, theirs, messages, 3, 0, NULL)) == 3);
  MUST(messages[2].msg_len == 5 && memcmp(rooms[2], "three", 5) == 0);

  TRY(sockeye_close(client, ours));
  TRY(sockeye_close(server, theirs));
  sockeye_host_free(client);
  sockeye_host_free(server);
  sockeye_network_free(network);
  printf("three by one call\n");
  return 0;
}
