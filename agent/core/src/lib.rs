//! The pure half of Vigil: the rules of the night as a state machine.
//!
//! ```text
//!  observation ──► Engine::on_observation ─┐            ┌─ alert revisions
//!                                          ├─► Commit ──┤
//!  time ─────────► Engine::on_deadline ────┤            └─ records (runs, daily reports, refused commands)
//!  command ──────► Engine::on_command ─────┘
//!                         │
//!    duty ─ who is on duty, on break, off
//!    windows ─ what happened in a guard's last two hours of duty
//!    movement ─ whether the handset really moved
//!    rules/* ─ one file a rule: they read the above and raise, clear or withdraw
//!    report ─ what became of it all, day by day
//! ```
//!
//! Nothing here reads a clock, does I/O, awaits, or iterates in an order that could change: the same
//! site and the same inputs give the same alerts, byte for byte, live, after a restart or from a file.

pub mod alert;
pub mod book;
pub mod command;
pub mod deadline;
pub mod duty;
pub mod engine;
pub mod evidence;
pub mod figures;
mod forgetting;
pub mod geofence;
pub mod id;
pub mod mapping;
pub mod movement;
pub mod observation;
pub mod policy;
pub mod report;
pub mod retelling;
pub mod roster;
pub mod rules;
pub mod site;
pub mod time;
pub mod view;
pub mod watch;
pub mod windows;
pub mod workflow;
