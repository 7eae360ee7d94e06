//! Parquet and Arrow IPC: rows gathered into batches of typed columns.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Cell, Column, Kind, Sink};

/// Rows of one batch.
const BATCH: usize = 64 * 1024;
const UTC: &str = "UTC";

/// A Parquet file.
pub(super) struct Parquet {
    batch: Batch,
    writer: ArrowWriter<File>,
}

impl Parquet {
    pub(super) fn create(path: &Path, columns: &'static [Column]) -> io::Result<Self> {
        let batch = Batch::new(columns);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let schema = Arc::clone(&batch.schema);
        let writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties))
            .map_err(io::Error::other)?;
        Ok(Self { batch, writer })
    }

    fn flush(&mut self) -> io::Result<()> {
        let batch = self.batch.take()?;
        self.writer.write(&batch).map_err(io::Error::other)
    }
}

impl Sink for Parquet {
    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        self.batch.push(row)?;
        if self.batch.rows == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> io::Result<u64> {
        self.flush()?;
        let file = self.writer.into_inner().map_err(io::Error::other)?;
        Ok(file.metadata()?.len())
    }
}

/// An Arrow IPC file.
pub(super) struct Ipc {
    batch: Batch,
    writer: FileWriter<File>,
}

impl Ipc {
    pub(super) fn create(path: &Path, columns: &'static [Column]) -> io::Result<Self> {
        let batch = Batch::new(columns);
        let writer =
            FileWriter::try_new(File::create(path)?, &batch.schema).map_err(io::Error::other)?;
        Ok(Self { batch, writer })
    }

    fn flush(&mut self) -> io::Result<()> {
        let batch = self.batch.take()?;
        self.writer.write(&batch).map_err(io::Error::other)
    }
}

impl Sink for Ipc {
    fn row(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        self.batch.push(row)?;
        if self.batch.rows == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> io::Result<u64> {
        self.flush()?;
        self.writer.finish().map_err(io::Error::other)?;
        Ok(self.writer.get_ref().metadata()?.len())
    }
}

/// Columns that are being filled.
struct Batch {
    schema: SchemaRef,
    columns: Vec<Builder>,
    rows: usize,
}

enum Builder {
    Unsigned(UInt64Builder),
    Signed(Int64Builder),
    Time(TimestampNanosecondBuilder),
    Text(StringBuilder),
}

impl Batch {
    fn new(columns: &'static [Column]) -> Self {
        let fields: Vec<_> = columns
            .iter()
            .map(|column| {
                let kind = match column.kind {
                    Kind::Unsigned => DataType::UInt64,
                    Kind::Signed => DataType::Int64,
                    Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
                    Kind::Text => DataType::Utf8,
                };
                Field::new(column.name, kind, true)
            })
            .collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
            columns: columns
                .iter()
                .map(|column| Builder::new(column.kind))
                .collect(),
            rows: 0,
        }
    }

    fn push(&mut self, row: &[Cell<'_>]) -> io::Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.push(cell)?;
        }
        self.rows += 1;
        Ok(())
    }

    fn take(&mut self) -> io::Result<RecordBatch> {
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)
    }
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Unsigned => Self::Unsigned(UInt64Builder::new()),
            Kind::Signed => Self::Signed(Int64Builder::new()),
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new().with_timezone(UTC)),
            Kind::Text => Self::Text(StringBuilder::new()),
        }
    }

    fn push(&mut self, cell: &Cell<'_>) -> io::Result<()> {
        match (self, *cell) {
            (Self::Unsigned(builder), Cell::Unsigned(value)) => builder.append_value(value),
            (Self::Unsigned(builder), Cell::None) => builder.append_null(),
            (Self::Signed(builder), Cell::Signed(value)) => builder.append_value(value),
            (Self::Signed(builder), Cell::None) => builder.append_null(),
            (Self::Time(builder), Cell::Time(nanos)) => {
                // Signed nanoseconds reach the year 2262.
                builder.append_option(i64::try_from(nanos).ok());
            }
            (Self::Time(builder), Cell::None) => builder.append_null(),
            (Self::Text(builder), Cell::Text(text)) => builder.append_value(text),
            (Self::Text(builder), Cell::None) => builder.append_null(),
            (_, cell) => return Err(io::Error::other(format!("{cell:?} is in a wrong column"))),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Unsigned(builder) => Arc::new(builder.finish()),
            Self::Signed(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt64Type};
    use arrow::ipc::reader::FileReader;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    const COLUMNS: &[Column] = &[
        Column::new("seq", Kind::Unsigned),
        Column::new("time_ns", Kind::Time),
        Column::new("price", Kind::Signed),
        Column::new("text", Kind::Text),
    ];

    fn fill(sink: &mut dyn Sink) {
        for seq in 0..100_000_u64 {
            let price = if seq % 3 == 0 {
                Cell::None
            } else {
                Cell::Signed(-5)
            };
            let row = [
                Cell::Unsigned(seq),
                Cell::Time(seq * 10),
                price,
                Cell::Text("x"),
            ];
            sink.row(&row).unwrap();
        }
    }

    fn check(batches: impl Iterator<Item = RecordBatch>) {
        let mut next = 0;
        for batch in batches {
            let seq = batch.column(0).as_primitive::<UInt64Type>();
            let time = batch.column(1).as_primitive::<TimestampNanosecondType>();
            let price = batch.column(2).as_primitive::<Int64Type>();
            assert_eq!(time.timezone(), Some("UTC"));
            for row in 0..batch.num_rows() {
                assert_eq!(seq.value(row), next);
                assert_eq!(time.value(row) as u64, next * 10);
                assert_eq!(price.is_null(row), next % 3 == 0);
                next += 1;
            }
        }
        assert_eq!(next, 100_000);
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        let mut parquet = Box::new(Parquet::create(&path, COLUMNS).unwrap());
        fill(&mut *parquet);
        assert_eq!(parquet.end().unwrap(), path.metadata().unwrap().len());
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap());
        check(reader.unwrap().build().unwrap().map(Result::unwrap));

        let path = dir.path().join("x.arrow");
        let mut ipc = Box::new(Ipc::create(&path, COLUMNS).unwrap());
        fill(&mut *ipc);
        assert_eq!(ipc.end().unwrap(), path.metadata().unwrap().len());
        let reader = FileReader::try_new(File::open(&path).unwrap(), None);
        check(reader.unwrap().map(Result::unwrap));
    }
}
