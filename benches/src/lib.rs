//! What the benchmarks measure with: the flows, the books beside ours, the way of measuring.
//!
//! The program `tessera-bench` runs whole workloads and prints tables; the criterion benches in
//! `benches/` ask about single parts, one file per question, which its first line states. All this is
//! a package of its own because criterion takes longer to compile than everything it measures.
//!
//! Start with `flows`, what is measured, then `subject`, the engine as `serve` drives it, `baseline`,
//! the plain book beside it, and `contest`, how they are timed in turn.

pub mod baseline;
pub mod contest;
pub mod element;
pub mod flows;
pub mod heap;
pub mod messages;
#[cfg(feature = "peers")]
pub mod peers;
pub mod shape;
pub mod subject;
