//! Labs.
mod expect;
mod file;
