//! Findings and alerts.
/// Placeholder until the module is written.
#[derive(Debug, Default)]
pub struct Findings;
