//! Where numbers leave the agent. Encoders are pure functions of frozen families; servers and clients are thin
//! shells around them.

pub mod http;
pub mod openmetrics;
