//! One file a rule.

pub mod attendance;
pub mod battery;
pub mod compliance;
pub mod inactivity;
pub mod instruments;
pub mod maintenance;
pub mod pace;
pub mod runs;
pub mod safety;
pub mod score;
pub mod sequence;
pub mod skew;
pub mod storm;
pub mod tasks;
pub mod tours;
pub mod welfare;
