//! The figures as tables and curves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::outcome::Outcome;
use crate::world::{HOURS, WINDOWS};

/// The markets by name, in the order of the figures.
pub(crate) const MARKETS: [&str; 4] = ["pinned", "retry", "lattice", "lattice, dearest first"];

/// All seeds of one share of flexible buyers.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// The share, 0 to 1.
    pub(crate) flexible: f64,
    /// By seed: the outcomes of the markets, and the surplus of the optimum.
    pub(crate) seeds: Vec<([Outcome; MARKETS.len()], f64)>,
}

type Figure = (&'static str, &'static str, fn(&Outcome, f64) -> f64);

const FIGURES: [Figure; 5] = [
    ("surplus", "surplus, % of the optimum", |of, best| {
        100.0 * of.surplus / best
    }),
    ("served", "demand served, % of lot-hours", |of, _| {
        100.0 * of.served
    }),
    ("utilisation", "utilisation, % of GPU-hours", |of, _| {
        100.0 * of.utilisation
    }),
    ("price", "paid per effective hour, USD", |of, _| {
        of.price * USD
    }),
    (
        "revenue",
        "sellers' revenue, thousand USD a day",
        |of, _| of.revenue * USD / 1e3,
    ),
];
/// USD of a tick.
const USD: f64 = 60e-6;

impl Cell {
    /// Mean and standard deviation over the seeds.
    fn spread(&self, market: usize, figure: &Figure) -> (f64, f64) {
        let values: Vec<f64> = self
            .seeds
            .iter()
            .map(|(outcomes, best)| figure.2(&outcomes[market], *best))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a few seeds")]
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        (mean, (square / (count - 1.0).max(1.0)).sqrt())
    }
}

/// The tables, as Markdown.
#[must_use]
pub(crate) fn tables(cells: &[Cell]) -> String {
    let mut text = String::new();
    for figure in &FIGURES {
        let _ = write!(text, "\n### {}\n\n| flexible buyers |", capital(figure.1));
        for market in MARKETS {
            let _ = write!(text, " {market} |");
        }
        text += "\n| ---: | ---: | ---: | ---: | ---: |\n";
        for cell in cells {
            let _ = write!(text, "| {:.0} % |", cell.flexible * 100.0);
            for market in 0..MARKETS.len() {
                let (mean, deviation) = cell.spread(market, figure);
                let digits = if mean < 10.0 { 2 } else { 1 };
                let _ = write!(text, " {mean:.digits$} ± {deviation:.digits$} |");
            }
            text += "\n";
        }
        let _ = write!(text, "\n![{}]({}.svg)\n", figure.1, figure.0);
    }
    text
}

/// One picture for each figure.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn draw(cells: &[Cell], folder: &Path) -> Result<()> {
    for figure in &FIGURES {
        let path = folder.join(figure.0).with_extension("svg");
        picture(cells, figure, &path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn picture(cells: &[Cell], figure: &Figure, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let points: Vec<Vec<(f64, f64, f64)>> = (0..MARKETS.len())
        .map(|market| {
            let point = |cell: &Cell| {
                let (mean, deviation) = cell.spread(market, figure);
                (cell.flexible * 100.0, mean, deviation)
            };
            cells.iter().map(point).collect()
        })
        .collect();
    let all = || points.iter().flatten();
    let low = all()
        .map(|point| point.1 - point.2)
        .fold(f64::INFINITY, f64::min);
    let high = all()
        .map(|point| point.1 + point.2)
        .fold(f64::NEG_INFINITY, f64::max);
    let margin = (high - low) * 0.08;
    let area = SVGBackend::new(path, (760, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(-3.0..103.0, low - margin..high + margin)?;
    chart
        .configure_mesh()
        .x_desc("flexible buyers, %")
        .y_desc(figure.1)
        .light_line_style(WHITE)
        .draw()?;
    for (market, points) in points.iter().enumerate() {
        let color = COLORS[market];
        // Side by side, so that the spreads can be told apart.
        let shift = [-0.9, -0.3, 0.3, 0.9][market];
        let line = points.iter().map(|point| (point.0 + shift, point.1));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)).point_size(3))?
            .label(MARKETS[market])
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|&(x, mean, deviation)| {
            let ends = [(x + shift, mean - deviation), (x + shift, mean + deviation)];
            PathElement::new(ends, color.mix(0.6))
        }))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

const COLORS: [RGBColor; MARKETS.len()] = [
    RGBColor(120, 120, 120),
    RGBColor(201, 120, 20),
    RGBColor(20, 90, 170),
    RGBColor(120, 40, 140),
];

/// What the study is about, in one line.
#[must_use]
pub(crate) fn scale() -> String {
    format!("{WINDOWS} windows of {HOURS} hours")
}
