//! Ethernet, IPv4 and UDP around a DHCP message.
