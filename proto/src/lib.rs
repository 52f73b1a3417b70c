//! unix-only messages and descriptors between our own processes; exact-size TCP I/O
