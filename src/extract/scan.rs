//! The scan: an input as a sequence of blocks, each one lazy frame of text columns in which every
//! row has its origin.
//!
//! A file of its own because it is the one place where files turn into frames. Nothing is inferred:
//! columns are text, so leading zeros, `1E5`-like identifiers and exact amounts survive. Blocks,
//! not one frame over everything, because several threads then work without a single point where
//! rows are handed over, and because memory is that of the blocks at work, not of the input.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use polars::prelude::{
    DataFrame, DataType, Expr, Int64Chunked, IntoColumn, IntoLazy, LazyFrame, NULL, UnionArgs, col,
    concat, lit,
};

use super::delimited::{self, Cut, Layout, Malformed, Reader};
use super::{Extracted, Format, SourceFile, format, header, parquet_file};
use crate::config::Source;
use crate::error::{Error, Result};
use crate::schema::{Dataset, ORIGIN, ORIGIN_RECORD_BITS};

/// The row number within one file, from 1, before it becomes part of the origin.
const RECORD: &str = "__record";
/// Rows of a block of a format that is no text.
const BLOCK_ROWS: u64 = 131_072;

/// The blocks of an input, for several threads.
pub struct Blocks<'a> {
    extracted: &'a Extracted,
    separator: u8,
    state: Mutex<State>,
}

struct State {
    /// The file that is read, from 0; all before it are done.
    file: usize,
    open: Option<Open>,
    /// Records of the open file that were handed out.
    handed_out: u64,
    /// Records of all files that were handed out.
    records: u64,
}

/// A file that is being read.
enum Open {
    Delimited(Box<Reader>),
    /// Rows that Polars can slice.
    Rows {
        frame: Box<LazyFrame>,
        columns: Columns,
        rows: u64,
    },
}

type Columns = BTreeMap<&'static str, Expr>;

/// All of an input, to be read block by block.
///
/// # Errors
/// `Config` when the delimiter is not one ASCII character.
pub fn scan<'a>(extracted: &'a Extracted, source: &Source) -> Result<Blocks<'a>> {
    let separator = header::separator(extracted.dataset, source)?;
    let state = State { file: 0, open: None, handed_out: 0, records: 0 };
    Ok(Blocks { extracted, separator, state: Mutex::new(state) })
}

impl Blocks<'_> {
    /// The next block; none at the end. Only reading is done here, one thread at a time: parsing
    /// is the block's own.
    ///
    /// # Errors
    /// `Source` when a file cannot be read.
    pub fn next_block(&self) -> Result<Option<Block<'_>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(file) = self.extracted.files.get(state.file) else { return Ok(None) };
            let mut open = if let Some(open) = state.open.take() {
                open
            } else {
                state.handed_out = 0;
                self.open(file)?
            };
            let content = self.cut(file, &mut open, state.handed_out)?;
            let Some((content, records)) = content else {
                state.file += 1;
                continue;
            };
            let block = Block {
                dataset: self.extracted.dataset,
                file,
                separator: self.separator,
                base: base(self.extracted.dataset, state.file)?,
                before: state.handed_out,
                records,
                content,
            };
            state.open = Some(open);
            state.handed_out += records;
            state.records += records;
            return Ok(Some(block));
        }
    }

    /// Records handed out so far, counted apart from the parsing of their fields.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).records
    }

    /// All remaining blocks as one frame: for inputs that fit in memory, as a provider directory
    /// does.
    ///
    /// # Errors
    /// As [`Blocks::next_block`] and [`Block::frame`].
    pub fn all(&self) -> Result<LazyFrame> {
        let mut frames = Vec::new();
        while let Some(block) = self.next_block()? {
            frames.push(block.frame()?);
        }
        if frames.is_empty() {
            return Ok(empty(self.extracted.dataset));
        }
        concat(frames, UnionArgs::default()).map_err(|_| {
            Error::internal(format!("{}: the blocks do not fit together", self.extracted.dataset))
        })
    }

    fn open(&self, file: &SourceFile) -> Result<Open> {
        let dataset = self.extracted.dataset;
        Ok(match file.format {
            Format::Csv => {
                let source = format::open(dataset, &file.path, file.compression)?;
                Open::Delimited(Box::new(Reader::new(source, self.separator)))
            }
            Format::Parquet => {
                let (frame, columns) = parquet_file::rows(dataset, file)?;
                let rows = parquet_file::count(dataset, file)?;
                Open::Rows { frame: Box::new(frame), columns, rows }
            }
            Format::Database => fetched(self.extracted)?,
        })
    }

    fn cut(
        &self,
        file: &SourceFile,
        open: &mut Open,
        handed_out: u64,
    ) -> Result<Option<(Content, u64)>> {
        match open {
            Open::Delimited(reader) => {
                let cut = reader
                    .next()
                    .map_err(|error| format::unreadable(self.extracted.dataset, file, &error))?
                    .map_err(|what| malformed(self.extracted.dataset, file, handed_out, what))?;
                Ok(cut.map(|Cut { bytes, records }| (Content::Delimited(bytes), records)))
            }
            Open::Rows { frame, columns, rows } => {
                let records = BLOCK_ROWS.min(*rows - handed_out);
                let offset = i64::try_from(handed_out).unwrap_or(i64::MAX);
                let slice =
                    (**frame).clone().slice(offset, u32::try_from(records).unwrap_or(u32::MAX));
                let content = Content::Rows { frame: Box::new(slice), columns: columns.clone() };
                Ok((records > 0).then_some((content, records)))
            }
        }
    }
}

/// Some 100,000 records in a row.
pub struct Block<'a> {
    dataset: Dataset,
    file: &'a SourceFile,
    separator: u8,
    /// The origin of the file's record 0.
    base: i64,
    /// Records of the file before this block.
    before: u64,
    records: u64,
    content: Content,
}

enum Content {
    Delimited(Vec<u8>),
    Rows { frame: Box<LazyFrame>, columns: Columns },
}

impl Block<'_> {
    /// The block's rows: the contract's columns in the contract's order as text (an optional column
    /// that the file lacks is null), then [`ORIGIN`]. An empty field is null, a quoted empty field
    /// is an empty text; a blank line is a row of nulls.
    ///
    /// Executing the plan can fail with errors of Polars that quote the data; whoever executes it
    /// must not pass them on.
    ///
    /// # Errors
    /// `Source` when the text is malformed.
    pub fn frame(self) -> Result<LazyFrame> {
        let first = self.before + 1;
        match self.content {
            Content::Rows { frame, columns } => {
                let offset = u32::try_from(first).map_err(|_| too_many(self.dataset))?;
                let origin = col(RECORD).cast(DataType::Int64) + lit(self.base);
                Ok(frame.with_row_index(RECORD, Some(offset)).select(contract(
                    self.dataset,
                    columns,
                    origin,
                )))
            }
            Content::Delimited(bytes) => {
                let layout = layout(self.file, self.separator);
                let rows = usize::try_from(self.records).map_err(|_| too_many(self.dataset))?;
                let mut columns =
                    delimited::columns(bytes, rows, &layout).map_err(|(row, what)| {
                        malformed(self.dataset, self.file, self.before + row as u64, what)
                    })?;
                let first = i64::try_from(first).map_err(|_| too_many(self.dataset))? + self.base;
                let last = first + i64::try_from(rows).map_err(|_| too_many(self.dataset))?;
                let origins: Vec<i64> = (first..last).collect();
                columns.push(Int64Chunked::from_vec(ORIGIN.into(), origins).into_column());
                let frame = DataFrame::new(rows, columns)
                    .map_err(|_| Error::internal("two counts of one block's records differ"))?;
                let names = layout.names.iter().map(|name| (*name, col(*name))).collect();
                Ok(frame.lazy().select(contract(self.dataset, names, col(ORIGIN))))
            }
        }
    }
}

/// The contract's columns and the origin.
fn contract(dataset: Dataset, mut columns: Columns, origin: Expr) -> Vec<Expr> {
    let mut selected: Vec<Expr> = dataset
        .columns()
        .map(|column| {
            columns.remove(column).unwrap_or_else(|| lit(NULL).cast(DataType::String)).alias(column)
        })
        .collect();
    selected.push(origin.alias(ORIGIN));
    selected
}

/// A frame of the contract's columns without rows.
fn empty(dataset: Dataset) -> LazyFrame {
    let origin = Int64Chunked::from_vec(ORIGIN.into(), Vec::new()).into_column();
    let frame = DataFrame::new(0, vec![origin]).unwrap_or_default();
    frame.lazy().select(contract(dataset, Columns::new(), col(ORIGIN)))
}

/// The origin of a file's record 0.
fn base(dataset: Dataset, number: usize) -> Result<i64> {
    i64::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(1 << ORIGIN_RECORD_BITS))
        .ok_or_else(|| Error::config(format!("{dataset}: too many files")))
}

/// Which fields of the file become which columns.
fn layout(file: &SourceFile, separator: u8) -> Layout {
    let mut fields = vec![None; file.header.len()];
    let mut names = Vec::with_capacity(file.columns.len());
    for (column, name) in &file.columns {
        if let Some(field) = file.header.iter().position(|found| found == name) {
            fields[field] = Some(names.len());
            names.push(*column);
        }
    }
    Layout { fields, names, separator }
}

fn malformed(dataset: Dataset, file: &SourceFile, before: u64, what: Malformed) -> Error {
    let (path, record) = (file.path.display(), before + 1);
    Error::source(format!("{dataset}: {path}: record {record} {}", what.what()))
        .hint("mend the record or take it out, then run again")
}

fn too_many(dataset: Dataset) -> Error {
    Error::source(format!("{dataset}: a file has more records than can be numbered"))
        .hint("split the file")
}

#[cfg(feature = "database")]
fn fetched(extracted: &Extracted) -> Result<Open> {
    let fetched = extracted
        .fetched
        .as_ref()
        .ok_or_else(|| Error::internal("a database source without its rows"))?;
    let columns =
        extracted.files.iter().flat_map(|file| file.columns.keys()).map(|c| (*c, col(*c)));
    Ok(Open::Rows {
        frame: Box::new(fetched.lazy()),
        columns: columns.collect(),
        rows: fetched.rows(),
    })
}

#[cfg(not(feature = "database"))]
fn fetched(_: &Extracted) -> Result<Open> {
    Err(Error::internal("this build cannot read from a database"))
}
