/* What all examples do when something fails: say what, and end. */
#ifndef COMMON_H
#define COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sockeye.h>

/* The value of a call that returns -1 and sets errno when it fails. */
#define TRY(call) try_number((long)(call), #call)
/* A handle, which is null when it couldn't be made. */
#define MADE(handle) \
  do { \
    if ((handle) == NULL) { \
      fprintf(stderr, "%s: %s (%s)\n", #handle, sockeye_last_error(), strerror(errno)); \
      exit(1); \
    } \
  } while (0)
/* Something that must be so. */
#define MUST(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "not so: %s\n", #condition); \
      exit(1); \
    } \
  } while (0)

static inline long try_number(long value, const char *call) {
  if (value == -1) {
    fprintf(stderr, "%s: %s\n", call, strerror(errno));
    exit(1);
  }
  return value;
}

/* The IPv4 address of a host, with a port. */
static inline struct sockaddr_in address_of(const sockeye_host *host, unsigned short port) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  TRY(sockeye_host_address(host, AF_INET, (struct sockaddr *)&address, &length));
  address.sin_port = htons(port);
  return address;
}

#endif
