//! One kind of chart for everything: series over two axes with units, and a note with span and seed.

use plotters::prelude::*;
use plotters::series::DashedLineSeries;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Joined points.
    Line,
    /// Joined points, dashed.
    Dashed,
    /// Single points.
    Points,
    /// Steps: each value holds until the next x.
    Steps,
    /// Bars from zero; x is the middle, the width is that of the smallest distance.
    Bars,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// How it is drawn.
    pub kind: Kind,
    /// Points; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A series.
    pub fn new(name: impl Into<String>, kind: Kind, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            kind,
            points,
        }
    }
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Title.
    pub title: String,
    /// Label of the x axis, with its unit.
    pub x: String,
    /// Label of the y axis, with its unit.
    pub y: String,
    /// Data span, sample size and seed.
    pub note: String,
    /// What is drawn, first at the back.
    pub series: Vec<Series>,
}

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// No finite point.
    #[error("plot {title}: no finite point to draw")]
    Empty {
        /// Title.
        title: String,
    },
    /// The drawing library.
    #[error("plot {title}: {message}")]
    Draw {
        /// Title.
        title: String,
        /// Reason.
        message: String,
    },
}

impl Plot {
    /// The chart as SVG text.
    ///
    /// # Errors
    /// [`PlotError`] without a finite point.
    pub fn svg(&self) -> Result<String, PlotError> {
        let draw = |message: String| PlotError::Draw {
            title: self.title.clone(),
            message,
        };
        let finite = |s: &Series| -> Vec<(f64, f64)> {
            s.points
                .iter()
                .copied()
                .filter(|(x, y)| x.is_finite() && y.is_finite())
                .collect()
        };
        let all: Vec<(f64, f64)> = self.series.iter().flat_map(finite).collect();
        if all.is_empty() {
            return Err(PlotError::Empty {
                title: self.title.clone(),
            });
        }
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
                (a.min(v), b.max(v))
            });
            let pad = 0.03 * (high - low).max(1e-9 * (1.0 + high.abs()));
            low - pad..high + pad
        };
        let bars = self.series.iter().any(|s| s.kind == Kind::Bars);
        let zero = bars.then_some(0.0);
        let xs = range(&mut all.iter().map(|p| p.0));
        let ys = range(&mut all.iter().map(|p| p.1).chain(zero));
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (820, 430)).into_drawing_area();
            root.fill(&WHITE).map_err(|e| draw(e.to_string()))?;
            let (upper, lower) = root.split_vertically(405);
            let mut chart = ChartBuilder::on(&upper)
                .caption(&self.title, ("sans-serif", 17))
                .margin(8)
                .x_label_area_size(38)
                .y_label_area_size(66)
                .build_cartesian_2d(xs, ys)
                .map_err(|e| draw(e.to_string()))?;
            chart
                .configure_mesh()
                .x_desc(self.x.as_str())
                .y_desc(self.y.as_str())
                .label_style(("sans-serif", 12))
                .axis_desc_style(("sans-serif", 13))
                .light_line_style(WHITE)
                .bold_line_style(RGBColor(225, 225, 225))
                .draw()
                .map_err(|e| draw(e.to_string()))?;
            for (i, series) in self.series.iter().enumerate() {
                let colour = COLOURS[i % COLOURS.len()];
                let points = finite(series);
                let drawn = match series.kind {
                    Kind::Line => {
                        chart.draw_series(LineSeries::new(points, colour.stroke_width(1)))
                    }
                    Kind::Dashed => chart.draw_series(DashedLineSeries::new(
                        points,
                        6,
                        4,
                        colour.stroke_width(1),
                    )),
                    Kind::Steps => {
                        let mut steps = Vec::with_capacity(2 * points.len());
                        for w in points.windows(2) {
                            steps.extend([w[0], (w[1].0, w[0].1)]);
                        }
                        steps.extend(points.last());
                        chart.draw_series(LineSeries::new(steps, colour.stroke_width(1)))
                    }
                    Kind::Points => chart
                        .draw_series(points.iter().map(|p| Circle::new(*p, 2, colour.filled()))),
                    Kind::Bars => {
                        let width = points
                            .windows(2)
                            .map(|w| (w[1].0 - w[0].0).abs())
                            .fold(f64::INFINITY, f64::min);
                        let half = if width.is_finite() { 0.4 * width } else { 0.4 };
                        chart.draw_series(points.iter().map(|(x, y)| {
                            Rectangle::new([(x - half, 0.0), (x + half, *y)], colour.filled())
                        }))
                    }
                };
                drawn
                    .map_err(|e| draw(e.to_string()))?
                    .label(series.name.as_str())
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2))
                    });
            }
            if self.series.len() > 1 {
                chart
                    .configure_series_labels()
                    .label_font(("sans-serif", 12))
                    .background_style(WHITE.mix(0.8))
                    .border_style(RGBColor(200, 200, 200))
                    .position(SeriesLabelPosition::UpperRight)
                    .draw()
                    .map_err(|e| draw(e.to_string()))?;
            }
            lower
                .draw(&Text::new(
                    self.note.clone(),
                    (12, 4),
                    ("sans-serif", 11).into_font().color(&RGBColor(90, 90, 90)),
                ))
                .map_err(|e| draw(e.to_string()))?;
            root.present().map_err(|e| draw(e.to_string()))?;
        }
        Ok(svg)
    }
}

/// Colours that differ for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_drawn_with_units_and_note() {
        for kind in [
            Kind::Line,
            Kind::Dashed,
            Kind::Points,
            Kind::Steps,
            Kind::Bars,
        ] {
            let plot = Plot {
                title: "Title".into(),
                x: "hours".into(),
                y: "USD/MWh".into(),
                note: "seed 7".into(),
                series: vec![
                    Series::new("a", kind, vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)]),
                    Series::new("b", kind, vec![(0.0, -1.0)]),
                ],
            };
            let svg = plot.svg().unwrap();
            for text in ["<svg", "Title", "hours", "USD/MWh", "seed 7"] {
                assert!(svg.contains(text), "{text}");
            }
            assert!(!svg.contains("NaN"));
        }
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let plot = Plot {
            title: "t".into(),
            x: String::new(),
            y: String::new(),
            note: String::new(),
            series: vec![Series::new("a", Kind::Line, vec![(f64::NAN, 1.0)])],
        };
        assert!(plot.svg().is_err());
    }
}
