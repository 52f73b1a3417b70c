//! the one process that may touch the firewall
