//! HTTP/1: heads and bodies read strictly, and requests passed on one by one. `head`, `chunks` and `web` are pure.

pub mod chunks;
pub mod head;
pub mod web;
