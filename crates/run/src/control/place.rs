//! Where control sockets are, and who may have them.
