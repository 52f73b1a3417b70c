//! dhcpd.conf(5): from text to a [`crate::config::Config`].
