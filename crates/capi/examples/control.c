/* Options, and control messages both ways: to which address a datagram was sent (IP_PKTINFO), and with which TTL. */
#define _GNU_SOURCE
#include "common.h"

int main(void) {
  sockeye_network *network = sockeye_network_new(NULL);
  MADE(network);
  sockeye_host *server = sockeye_host_new(network, "server", "10.77.0.53", NULL);
  MADE(server);
  sockeye_host *client = sockeye_host_new(network, "client", NULL, NULL);
  MADE(client);

  int on = 1, size = 0;
  socklen_t length = sizeof size;
  int theirs = (int)TRY(sockeye_socket(server, AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(53)};
  TRY(sockeye_bind(server, theirs, (struct sockaddr *)&any, sizeof any));
  TRY(sockeye_setsockopt(server, theirs, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
  TRY(sockeye_setsockopt(server, theirs, IPPROTO_IP, IP_RECVTTL, &on, sizeof on));
  TRY(sockeye_getsockopt(server, theirs, SOL_SOCKET, SO_RCVBUF, &size, &length));
  MUST(size > 0 && length == sizeof size);

  /* The client says the TTL of this one datagram. */
  int ours = (int)TRY(sockeye_socket(client, AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = address_of(server, 53);
  int ttl = 9;
  struct iovec part = {(void *)"hello", 5};
  union {
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &part, .msg_iovlen = 1};
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof ttl);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IP;
  header->cmsg_type = IP_TTL;
  header->cmsg_len = CMSG_LEN(sizeof ttl);
  memcpy(CMSG_DATA(header), &ttl, sizeof ttl);
  TRY(sockeye_sendmsg(client, ours, &message, 0));

  /* The server reads it, and where it was sent to. */
  char buffer[16];
  struct sockaddr_in from;
  part = (struct iovec){buffer, sizeof buffer};
  message = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  MUST(TRY(sockeye_recvmsg(server, theirs, &message, 0)) == 5 && message.msg_flags == 0);
  struct in_pktinfo info = {0};
  ttl = 0;
  for (header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != IPPROTO_IP) continue;
    if (header->cmsg_type == IP_PKTINFO) memcpy(&info, CMSG_DATA(header), sizeof info);
    if (header->cmsg_type == IP_TTL) memcpy(&ttl, CMSG_DATA(header), sizeof ttl);
  }
  printf("to %s, TTL %d\n", inet_ntoa(info.ipi_addr), ttl);

  sockeye_host_free(client);
  sockeye_host_free(server);
  sockeye_network_free(network);
  return 0;
}
