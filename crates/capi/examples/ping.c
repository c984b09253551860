/* A ping by hand: a raw socket, which needs no rights here, and the ICMP messages written and read as bytes. */
#include "common.h"

/* The Internet checksum (RFC 1071). */
static unsigned short checksum(const unsigned char *bytes, size_t length) {
  unsigned long sum = 0;
  for (size_t at = 0; at + 1 < length; at += 2) sum += (unsigned long)(bytes[at] << 8 | bytes[at + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (unsigned short)~sum;
}

int main(void) {
  sockeye_network *network = sockeye_network_new("virtual");
  MADE(network);
  sockeye_host *web = sockeye_host_new(network, "web", NULL, "delay 15ms");
  MADE(web);
  sockeye_host *me = sockeye_host_new(network, "me", NULL, NULL);
  MADE(me);

  int fd = (int)TRY(sockeye_socket(me, AF_INET, SOCK_RAW, IPPROTO_ICMP));
  struct sockaddr_in address = address_of(web, 0);
  for (unsigned char number = 1; number <= 3; number++) {
    unsigned char request[16] = {8, 0, 0, 0, 0x12, 0x34, 0, number, 's', 'o', 'c', 'k', 'e', 'y', 'e', '!'};
    unsigned short sum = checksum(request, sizeof request);
    request[2] = (unsigned char)(sum >> 8);
    request[3] = (unsigned char)sum;
    uint64_t begin = sockeye_network_now(network);
    TRY(sockeye_sendto(me, fd, request, sizeof request, 0, (struct sockaddr *)&address, sizeof address));

    unsigned char packet[128];
    long count = TRY(sockeye_recv(me, fd, packet, sizeof packet, 0));
    size_t header = (size_t)(packet[0] & 15) * 4;
    MUST((size_t)count == header + sizeof request && packet[header] == 0 && packet[header + 7] == number);
    printf("%u: answered after %llu ms\n", number, (unsigned long long)(sockeye_network_now(network) - begin) / 1000000);
    TRY(sockeye_network_sleep(network, 1000000000));
  }

  sockeye_host_free(me);
  sockeye_host_free(web);
  sockeye_network_free(network);
  return 0;
}
