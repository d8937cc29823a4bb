//! The detection study: guards whose nights are known, watched by the rules.
//!
//! ```text
//!  scenario ─► plan ─► life ──────┐                       ┌─► verdict ─► tally ─► table, record, plots
//!  (a row)     what    where the  ├─► handset ─► trial ───┤
//!  receiver ─ how positions err ──┘   messages   engine   └─ beside the truth, which the engine never sees
//! ```
//!
//! Every model says where its figures come from: a trace, a publication, or nobody ("assumed"). They were fixed
//! before the study ran and are never changed for the sake of a result. A seed names a study for good.

pub mod calibration;
pub mod clock;
pub mod draws;
pub mod errands;
pub mod explain;
pub mod figures;
pub mod ground;
pub mod handset;
pub mod interval;
pub mod life;
pub mod path;
pub mod plan;
pub mod plots;
pub mod receiver;
pub mod record;
pub mod run;
pub mod scenario;
pub mod sweep;
pub mod table;
pub mod tally;
pub mod traces;
pub mod trial;
pub mod verdict;
