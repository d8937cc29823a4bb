//! What comes of an alert once it is raised, and the edges of the rules around the guard, told as nights.

mod battery;
mod duty;
mod maintenance;
mod steps;
mod storm;
mod welfare;
