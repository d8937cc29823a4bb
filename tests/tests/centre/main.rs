//! The operations centre and whoever stands in its place, with real agents. Most of these wait for a line or a clock: in one program they
//! wait together.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

mod alert_steps;
mod alertmanager;
mod noc_pages;
mod noc_postgres;
