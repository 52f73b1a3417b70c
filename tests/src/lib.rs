//! whole-system tests over network namespaces
