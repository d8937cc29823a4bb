//! A night on a site that is not there: guards walk, scan, fall still and lose their handsets by a script.
//!
//! A [`Scenario`] says who does what and when; [`Night`] turns it into timed messages, the same for the same
//! seed; [`publish`] sends them as the devices would, and [`write_ndjson`] writes them for `vigil replay`.

mod chance;
mod ndjson;
mod night;
mod patrol;
mod publish;
mod scenario;
mod site;

pub use chance::Chance;
pub use ndjson::write_ndjson;
pub use night::{Message, Night, Origin};
pub use publish::{Counts, Pace, Password, Target, publish};
pub use scenario::{Behaviour, Scenario, ScriptedGuard, ScriptedTour};
pub use site::site_toml;
