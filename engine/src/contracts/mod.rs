//! Compute contracts: inventory, orders that span several books, leases.

pub(crate) mod digest;
