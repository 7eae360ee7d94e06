//! Comma separated values: one header line, quotes only where they are needed, times as nanoseconds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{Cell, Column, Sink};

/// A file of comma separated values.
pub(super) struct Csv {
    file: BufWriter<File>,
    bytes: u64,
    line: String,
}

impl Csv {
    pub(super) fn create(path: &Path, columns: &[Column]) -> io::Result<Self> {
        let mut csv = Self {
            file: BufWriter::with_capacity(1 << 16, File::create(path)?),
            bytes: 0,
            line: String::new(),
        };
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        csv.line = names.join(",");
        csv.write()?;
        Ok(csv)
    }

    fn write(&mut self) -> io::Result<()> {
        self.line.push('\n');
        self.bytes += self.line.len() as u64;
        self.file.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

impl Sink for Csv {
    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        use std::fmt::Write as _;
        for (index, cell) in row.iter().enumerate() {
            if index > 0 {
                self.line.push(',');
            }
            let written = match cell {
                Cell::None => Ok(()),
                Cell::Unsigned(value) | Cell::Time(value) => write!(self.line, "{value}"),
                Cell::Signed(value) => write!(self.line, "{value}"),
                Cell::Text(text) if text.contains([',', '"', '\n', '\r']) => {
                    write!(self.line, "\"{}\"", text.replace('"', "\"\""))
                }
                Cell::Text(text) => self.line.write_str(text),
            };
            written.map_err(io::Error::other)?;
        }
        self.write()
    }

    fn end(mut self: Box<Self>) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::export::Kind;

    #[test]
    fn quotes_stand_where_they_are_needed() {
        const COLUMNS: &[Column] = &[Column::new("n", Kind::Signed), Column::new("t", Kind::Text)];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        let mut csv = Box::new(Csv::create(&path, COLUMNS).unwrap());
        csv.row(&[Cell::Signed(-1), Cell::Text("plain")]).unwrap();
        csv.row(&[Cell::None, Cell::Text("a \"b\", c")]).unwrap();
        let bytes = csv.end().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "n,t\n-1,plain\n,\"a \"\"b\"\", c\"\n");
        assert_eq!(bytes, text.len() as u64);
    }
}
