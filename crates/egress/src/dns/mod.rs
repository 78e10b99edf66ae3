//! DNS: the stub that answers a jail, and the resolver that asks for it. The messages are in `wire`, without I/O.

mod kept;
pub mod resolver;
pub(crate) mod stub;
pub mod wire;
