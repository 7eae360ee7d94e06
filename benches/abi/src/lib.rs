//! `libtessera_bench.so`: the engine behind the C interface of the public matching-engine benchmark.
//!
//! There is no matching in here. Messages become commands of [`tessera_engine::Exchange`], the engine
//! that `tessera serve` runs; its events become reports; questions are answered from its book. What
//! the harness offers beyond that (prefetch hints in batches, a queue of our own) is what `serve` does
//! as well.
//!
//! `layout` is the interface's memory, `adapter` the translation, `outlet` where reports go,
//! `ring` our own queue, `symbols` what the library exports. `driver` is the other side of the
//! interface, for tests and measurements in Rust, with `plain`, a queue such as a harness brings.
//!
//! # Source
//! The benchmark's public header (flash1-dev/matching-engine-benchmark, `api/matching_engine_api.h`)
//! and the description of its canonical text.

mod adapter;
pub mod driver;
pub mod layout;
mod outlet;
mod plain;
mod ring;
mod symbols;
