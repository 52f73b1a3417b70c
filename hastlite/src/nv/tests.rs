//! Every rule of a list.
