//! Skeleton.
#![allow(dead_code)]

mod dns;
