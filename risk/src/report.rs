//! Plots as SVG, and the generated report of `cargo xtask report risk`.
//!
//! The SVG names a font family and embeds none; text sizes are set by hand.

mod generate;
mod plot;

pub use generate::{ReportError, generate};
pub use plot::{Kind, Plot, PlotError, Series};
