//! The rows, as Markdown.

use std::fmt;

/// What was measured, row by row.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    what: String,
    ours: String,
    bare: String,
    ratio: Option<f64>,
    goal: Goal,
}

/// What a figure or a ratio should be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// The ratio to the probe is no less.
    RatioAtLeast(f64),
    /// The ratio to the probe is no more.
    RatioAtMost(f64),
    /// Our figure, in the unit of the row, is no more.
    AtMost(f64),
    /// Only reported.
    None,
}

impl Table {
    /// Our figure beside the probe's, both in `unit`.
    pub(crate) fn beside(&mut self, what: &str, unit: &str, ours: f64, bare: f64, goal: Goal) {
        self.0.push(Row {
            what: what.to_owned(),
            ours: shown(ours, unit),
            bare: shown(bare, unit),
            ratio: Some(ours / bare),
            goal,
        });
    }

    /// A figure that stands by itself.
    pub(crate) fn alone(&mut self, what: &str, unit: &str, figure: f64, goal: Goal) {
        let goal = match goal {
            Goal::AtMost(limit) if figure <= limit => format!("<= {limit}: held"),
            Goal::AtMost(limit) => format!("<= {limit}: **missed**"),
            _ => String::new(),
        };
        self.0.push(Row {
            what: what.to_owned(),
            ours: shown(figure, unit),
            bare: goal,
            ratio: None,
            goal: Goal::None,
        });
    }
}

fn shown(figure: f64, unit: &str) -> String {
    if figure >= 100.0 {
        format!("{figure:.0} {unit}")
    } else if figure >= 10.0 {
        format!("{figure:.1} {unit}")
    } else {
        format!("{figure:.2} {unit}")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | journal | bare | ratio | goal |")?;
        writeln!(f, "|---|---:|---:|---:|---|")?;
        for row in &self.0 {
            let Row {
                what, ours, bare, ..
            } = row;
            let Some(ratio) = row.ratio else {
                writeln!(f, "| {what} | {ours} | | | {bare} |")?;
                continue;
            };
            let goal = match row.goal {
                Goal::RatioAtLeast(limit) if ratio >= limit => format!(">= {limit}: held"),
                Goal::RatioAtLeast(limit) => format!(">= {limit}: **missed**"),
                Goal::RatioAtMost(limit) if ratio <= limit => format!("<= {limit}: held"),
                Goal::RatioAtMost(limit) => format!("<= {limit}: **missed**"),
                Goal::AtMost(_) | Goal::None => String::new(),
            };
            writeln!(f, "| {what} | {ours} | {bare} | {ratio:.2} | {goal} |")?;
        }
        Ok(())
    }
}
