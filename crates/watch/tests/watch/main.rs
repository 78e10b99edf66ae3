//! Tests of the watch as its caller sees it: ways to change things, kills, and what is told.

#![allow(clippy::unwrap_used)]

mod cases;
mod kept;
mod killed;
mod owner;
mod running;
mod sys;
mod tampering;
mod telling;
mod unprivileged;
mod world;
