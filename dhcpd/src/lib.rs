//! a DHCP server whose firewall tables follow every lease
