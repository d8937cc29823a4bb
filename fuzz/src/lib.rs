//! What the targets call. They stand in a module of their own because the tests include that file.

pub mod decoders;
