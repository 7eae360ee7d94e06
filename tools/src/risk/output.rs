//! One result, three forms: text, one JSON object, and a directory of files.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use tessera_risk::report::Plot;

use super::Stop;

/// Where a verb's result goes.
pub(super) struct Output<'a> {
    json: bool,
    out: Option<&'a Path>,
}

impl<'a> Output<'a> {
    pub(super) fn new(json: bool, out: Option<&'a Path>) -> Self {
        Self { json, out }
    }

    /// Prints the report and writes its files.
    pub(super) fn report(&self, report: &impl Serialize) -> Result<(), Stop> {
        let failed = |e: serde_json::Error| Stop::Failed(format!("cannot write the report: {e}"));
        let value = serde_json::to_value(report).map_err(failed)?;
        if self.json {
            println!("{value}");
        } else {
            print!("{}", text(&value));
        }
        if self.out.is_some() {
            let pretty = serde_json::to_string_pretty(&value).map_err(failed)?;
            self.write("report.json", pretty.as_bytes())?;
        }
        Ok(())
    }

    /// A CSV table in the directory, if there is one.
    pub(super) fn table<T: Serialize>(&self, file: &str, rows: &[T]) -> Result<(), Stop> {
        if self.out.is_none() {
            return Ok(());
        }
        let failed = |e: String| Stop::Failed(format!("cannot write {file}: {e}"));
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in rows {
            csv.serialize(row).map_err(|e| failed(e.to_string()))?;
        }
        let bytes = csv.into_inner().map_err(|e| failed(e.to_string()))?;
        self.write(file, &bytes)
    }

    /// A plot in the directory, if there is one; a plot without a point is left out.
    pub(super) fn plot(&self, file: &str, plot: &Plot) -> Result<(), Stop> {
        if self.out.is_none() {
            return Ok(());
        }
        match plot.svg() {
            Ok(svg) => self.write(file, svg.as_bytes()),
            Err(error) => {
                eprintln!("tessera: {error}");
                Ok(())
            }
        }
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Stop> {
        let Some(dir) = self.out else { return Ok(()) };
        let failed = |e: std::io::Error| Stop::Failed(format!("{}: {e}", dir.join(file).display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        std::fs::write(dir.join(file), bytes).map_err(failed)
    }
}

/// Names and values, indented; a list of objects is numbered.
pub(super) fn text(value: &Value) -> String {
    fn go(value: &Value, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        let leaf = |v: &Value| match v {
            Value::String(s) => s.clone(),
            Value::Null => "-".into(),
            v => v.to_string(),
        };
        let simple = |v: &Value| !v.is_object() && !v.is_array();
        match value {
            Value::Object(map) => {
                for (name, v) in map {
                    if simple(v) {
                        out.push_str(&format!("{pad}{name:<28} {}\n", leaf(v)));
                    } else {
                        out.push_str(&format!("{pad}{name}\n"));
                        go(v, depth + 1, out);
                    }
                }
            }
            Value::Array(all) if all.iter().all(simple) => {
                let joined: Vec<String> = all.iter().map(leaf).collect();
                out.push_str(&format!("{pad}{}\n", joined.join(", ")));
            }
            Value::Array(all) => {
                for (i, v) in all.iter().enumerate() {
                    out.push_str(&format!("{pad}[{}]\n", i + 1));
                    go(v, depth + 1, out);
                }
            }
            v => out.push_str(&format!("{pad}{}\n", leaf(v))),
        }
    }
    let mut out = String::new();
    go(value, 0, &mut out);
    out
}
