//! How Vigil's pages look and write: the gateway's page wears the same, so that both are one product.

/// The palette, the type and the shape of things; served as `/vigil.css`.
pub const STYLE: &str = include_str!("../pages/vigil.css");

/// How pages write times and alerts, order them, and keep the screen still; served as `/vigil.js`.
pub const SCRIPT: &str = include_str!("../pages/vigil.js");

/// The sign in the browser's tab; served as `/icon.svg`.
pub const ICON: &str = include_str!("../pages/icon.svg");
