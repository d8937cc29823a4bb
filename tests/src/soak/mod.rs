//! The store under what a site does to a disk: power that fails in the middle of a write, and files that are damaged.
//!
//! `work` says what is committed, so that what is found afterwards can be compared; `trace` reads what a run asked of
//! the kernel, `disk` knows which of that a power cut may undo, and `power` looks at what is left. `damage` breaks
//! files. `look` is the judgement of a process of its own, because a database that is broken may take its process
//! with it. `outage` leaves a whole site without its operations centre for days.

pub mod damage;
pub mod disk;
pub mod look;
pub mod outage;
pub mod power;
pub mod trace;
pub mod work;

use vigil_agent::simulate::Chance;

/// Any number below `bound`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a small number is a small number"
)]
pub fn below(chance: &mut Chance, bound: usize) -> usize {
    ((chance.share() * bound as f64) as usize).min(bound.saturating_sub(1))
}
