//! Sockeye's sockets: for threads and for tasks, between two hosts and over one host's loopback.
