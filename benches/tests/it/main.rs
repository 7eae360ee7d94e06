//! What crosses the packages of the benchmarks: the adapter against a plain oracle, the subjects
//! against each other.
#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

mod conformance;
mod oracle;
mod subjects;
