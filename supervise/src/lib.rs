//! the life of processes: start, quit, reap, confine
