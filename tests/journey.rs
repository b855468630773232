//! The whole way of an operator, from outside: a real service dies, is healed, and what must not happen does not.

pub(crate) mod approval;
mod full;
mod glass;
mod heal;
mod hostile;
mod kills;
mod orders;
mod overtaken;
mod releases;
mod several;
mod undo;
