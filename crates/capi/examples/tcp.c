/* A TCP server and its client, each in a thread of its own: socket, bind, listen, accept; socket, connect. */
#include "common.h"

#include <pthread.h>

struct server {
  sockeye_host *host;
  int listener;
};

/* Answers one client, line by line, until it ends. */
static void *serve(void *argument) {
  struct server *server = (struct server *)argument;
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  char buffer[256];
  long count;

  int client = (int)TRY(sockeye_accept(server->host, server->listener, (struct sockaddr *)&peer, &length));
  printf("server: a client at %s\n", inet_ntoa(peer.sin_addr));
  while ((count = TRY(sockeye_read(server->host, client, buffer, sizeof buffer))) > 0) {
    for (long at = 0; at < count; at++) {
      if (buffer[at] >= 'a' && buffer[at] <= 'z') buffer[at] -= 'a' - 'A';
    }
    TRY(sockeye_write(server->host, client, buffer, (size_t)count));
  }
  TRY(sockeye_close(server->host, client));
  return NULL;
}

int main(void) {
  const char question[] = "hello from user space";
  char answer[sizeof question] = {0};
  int on = 1;

  sockeye_network *network = sockeye_network_new(NULL);
  MADE(network);
  sockeye_host *web = sockeye_host_new(network, "web", "10.77.0.80", NULL);
  MADE(web);
  sockeye_host *me = sockeye_host_new(network, "me", NULL, "delay 1ms");
  MADE(me);

  struct server server = {web, (int)TRY(sockeye_socket(web, AF_INET, SOCK_STREAM, 0))};
  struct sockaddr_in address = address_of(web, 7);
  TRY(sockeye_setsockopt(web, server.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  TRY(sockeye_bind(web, server.listener, (struct sockaddr *)&address, sizeof address));
  TRY(sockeye_listen(web, server.listener, 16));
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, serve, &server) == 0);

  int fd = (int)TRY(sockeye_socket(me, AF_INET, SOCK_STREAM, 0));
  TRY(sockeye_connect(me, fd, (struct sockaddr *)&address, sizeof address));
  TRY(sockeye_send(me, fd, question, sizeof question - 1, 0));
  TRY(sockeye_recv(me, fd, answer, sizeof question - 1, MSG_WAITALL));
  TRY(sockeye_shutdown(me, fd, SHUT_WR));
  MUST(sockeye_read(me, fd, answer + sizeof question - 1, 1) == 0);
  pthread_join(thread, NULL);
  TRY(sockeye_close(me, fd));

  sockeye_host_free(me);
  sockeye_host_free(web);
  sockeye_network_free(network);
  printf("client: %s\n", answer);
  return 0;
}
