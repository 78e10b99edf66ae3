//! What the tests of the watch share: a world, ways to change it, and a watch in a thread.

pub(crate) mod cases;
pub(crate) mod running;
pub(crate) mod sys;
pub(crate) mod world;
