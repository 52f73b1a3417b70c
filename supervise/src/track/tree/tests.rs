//! The stories a tree must get right, and random ones.
