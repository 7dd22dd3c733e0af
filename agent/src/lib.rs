//! The agent.
#![forbid(unsafe_code)]

pub mod clock;
pub mod judge;
pub mod own;

/// The git revision this was built from, or `unknown`.
pub const REVISION: &str = "unknown";
