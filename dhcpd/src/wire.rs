//! What is on the wire: frames, DHCP messages and options. No sockets.
