//! The units as systemd reads them, and what the daemon tells whoever plays systemd.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

mod files;
mod journal;
mod told;
