//! The rules of the house that a machine checks: what lies where, who may use what, what a file looks like.
//!
//! Each fault is told with its place and its mend, and all of them at once.

mod code;
mod manifests;
mod text;
mod tree;
