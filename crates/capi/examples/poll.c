/* One thread that serves many clients: poll, and sockets that don't wait; and a pipe of the kernel's beside them, by
 * which it is told to stop. */
#include "common.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

enum { CLIENTS = 40, ROUNDS = 5 };

struct server {
  sockeye_host *host;
  int listener;
  int stop;
};

/* Sends back what comes, until there is something in the pipe. */
static void *serve(void *argument) {
  struct server *server = argument;
  struct pollfd polled[CLIENTS + 2] = {{server->stop, POLLIN, 0}, {server->listener, POLLIN, 0}};
  int count = 2;
  char buffer[512];

  while (polled[0].revents == 0) {
    TRY(sockeye_poll(server->host, polled, (nfds_t)count, -1));
    if (polled[1].revents & POLLIN) {
      int client;
      while ((client = sockeye_accept4(server->host, server->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        MUST(count < CLIENTS + 2);
        polled[count++] = (struct pollfd){client, POLLIN, 0};
      }
      MUST(errno == EAGAIN);
    }
    for (int at = 2; at < count; at++) {
      if (polled[at].fd < 0 || polled[at].revents == 0) continue;
      ssize_t got = sockeye_read(server->host, polled[at].fd, buffer, sizeof buffer);
      if (got > 0) {
        /* A few bytes always fit in an empty buffer. */
        MUST(sockeye_write(server->host, polled[at].fd, buffer, (size_t)got) == got);
      } else if (got == 0 || errno != EAGAIN) {
        TRY(sockeye_close(server->host, polled[at].fd));
        polled[at].fd = -1;
      }
    }
  }
  /* What is still open is closed with the host. */
  printf("server: told to stop\n");
  return NULL;
}

int main(void) {
  sockeye_network *network = sockeye_network_new(NULL);
  MADE(network);
  sockeye_host *host = sockeye_host_new(network, "server", NULL, NULL);
  MADE(host);
  sockeye_host *me = sockeye_host_new(network, "me", NULL, NULL);
  MADE(me);

  int ends[2];
  TRY(pipe(ends));
  struct server server = {host, (int)TRY(sockeye_socket(host, AF_INET, SOCK_STREAM, 0)), ends[0]};
  struct sockaddr_in address = address_of(host, 7);
  TRY(sockeye_bind(host, server.listener, (struct sockaddr *)&address, sizeof address));
  TRY(sockeye_listen(host, server.listener, CLIENTS));
  TRY(sockeye_fcntl(host, server.listener, F_SETFL, O_NONBLOCK));
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, serve, &server) == 0);

  int fds[CLIENTS];
  for (int at = 0; at < CLIENTS; at++) {
    fds[at] = (int)TRY(sockeye_socket(me, AF_INET, SOCK_STREAM, 0));
    TRY(sockeye_connect(me, fds[at], (struct sockaddr *)&address, sizeof address));
  }
  long bytes = 0;
  for (int round = 0; round < ROUNDS; round++) {
    char text[32], answer[32];
    for (int at = 0; at < CLIENTS; at++) {
      int length = snprintf(text, sizeof text, "client %d, round %d", at, round);
      TRY(sockeye_write(me, fds[at], text, (size_t)length));
    }
    for (int at = 0; at < CLIENTS; at++) {
      int length = snprintf(text, sizeof text, "client %d, round %d", at, round);
      bytes += TRY(sockeye_recv(me, fds[at], answer, (size_t)length, MSG_WAITALL));
      MUST(memcmp(text, answer, (size_t)length) == 0);
    }
  }
  for (int at = 0; at < CLIENTS; at++) TRY(sockeye_close(me, fds[at]));
  TRY(write(ends[1], "!", 1));
  pthread_join(thread, NULL);
  close(ends[0]);
  close(ends[1]);
  sockeye_host_free(me);
  sockeye_host_free(host);
  sockeye_network_free(network);
  printf("%d clients had %ld bytes sent back\n", CLIENTS, bytes);
  return 0;
}
