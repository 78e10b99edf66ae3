//! HTTP/1: heads and bodies read strictly, and requests passed on one by one. `head`, `chunks` and `web` are pure.

pub mod chunks;
mod exchange;
pub(crate) mod forward;
pub mod head;
pub mod web;
