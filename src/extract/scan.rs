//! Scans an input as a sequence of blocks. Each block is a lazy frame of text columns in which
//! every row carries its origin.
//!
//! Types are not inferred: text preserves leading zeros, identifiers like `1E5` and exact amounts.
//! Blocks let several threads work without a shared bottleneck, and bound memory by the blocks in
//! flight, not by the input size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use polars::prelude::{
    Column, DataFrame, DataType, Int32Chunked, Int64Chunked, IntoColumn, IntoLazy, LazyFrame,
    NewChunkedArray, StringChunked, UnionArgs, concat,
};

use super::delimited::{self, Damage, Damaged, Dialect, Layout, Reader, Table};
use super::extracted::Extracted;
use super::fingerprint::check_unchanged;
use super::format::{self, Format, Raw};
use super::parquet_file;
use super::source_file::{Delimited, SourceFile};
use crate::error::{Error, Result};
use crate::extract::projection;
use crate::rule::Rule;
use crate::schema::{DAMAGE, Dataset, ID_DAMAGE, ORIGIN, ORIGIN_RECORD_BITS, RAW, SOURCE_LINE};

/// Rows per block of a database source.
const BLOCK_ROWS: u64 = 131_072;
/// Minimum rows per block, from one or several files.
const MIN_ROWS: u64 = 16_384;
/// Maximum pieces per block.
const MAX_PARTS: usize = 4_096;

/// Block iterator over an input, shared by threads.
pub struct Blocks<'a> {
    extracted: &'a Extracted,
    state: Mutex<State>,
    /// Rows dropped as non-claims so far.
    filtered: AtomicU64,
}

struct State {
    /// Index of the current file; earlier ones are done.
    file: usize,
    open: Option<Open>,
    /// Counts of each file so far.
    census: Vec<Census>,
}

/// Line and record counts of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Records, including unreadable ones, excluding the header.
    pub(crate) records: u64,
    pub(crate) blank_lines: u64,
    pub(crate) comments: u64,
    /// Lines that end with CR LF.
    pub(crate) carriage_returns: u64,
}

/// An open file.
enum Open {
    Delimited {
        reader: Box<Reader>,
        raw: Raw,
    },
    Parquet(Box<parquet_file::Batches>),
    /// Rows as text that Polars can slice.
    Rows {
        frame: Box<LazyFrame>,
        rows: u64,
    },
}

/// Starts a scan.
#[must_use]
pub fn scan(extracted: &Extracted) -> Blocks<'_> {
    let census = vec![Census::default(); extracted.files.len()];
    let state = Mutex::new(State { file: 0, open: None, census });
    Blocks { extracted, state, filtered: AtomicU64::new(0) }
}

impl Blocks<'_> {
    /// Returns the next block, `None` at the end. Only reads bytes, one thread at a time; parsing
    /// happens in the block.
    ///
    /// # Errors
    /// `Source` when a file cannot be read or has changed.
    pub fn next_block(&self) -> Result<Option<Block<'_>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut block =
            Block { dataset: self.extracted.dataset, parts: Vec::new(), filtered: &self.filtered };
        loop {
            let number = state.file;
            let Some(file) = self.extracted.files.get(number) else {
                return Ok((!block.parts.is_empty()).then_some(block));
            };
            let mut open = match state.open.take() {
                Some(open) => open,
                None => self.open(file)?,
            };
            let before = state.census[number].records;
            let Some((content, cut)) = self.cut(file, &mut open, before)? else {
                state.file += 1;
                continue;
            };
            let census = &mut state.census[number];
            census.records += cut.records;
            census.blank_lines += cut.blank_lines;
            census.comments += cut.comments;
            census.carriage_returns += cut.carriage_returns;
            // The next call reads the end of the last text.
            let is_last_text =
                matches!(open, Open::Delimited { .. }) && number + 1 == self.extracted.files.len();
            state.open = Some(open);
            if cut.records == 0 {
                continue;
            }
            block.parts.push(FileRecords {
                file,
                base: base(self.extracted.dataset, number)?,
                before,
                records: cut.records,
                content,
            });
            if block.is_full() || is_last_text {
                return Ok(Some(block));
            }
        }
    }

    /// Records returned so far, counted before their fields are parsed.
    #[must_use]
    pub(crate) fn records(&self) -> u64 {
        self.census().iter().map(|census| census.records).sum()
    }

    /// Non-claim rows in blocks whose frames were built.
    #[must_use]
    pub(crate) fn filtered(&self) -> u64 {
        self.filtered.load(Ordering::Relaxed)
    }

    /// Counts of each file so far.
    #[must_use]
    pub(crate) fn census(&self) -> Vec<Census> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).census.clone()
    }

    /// All remaining blocks as one frame, for inputs that fit in memory, such as a provider
    /// directory.
    ///
    /// # Errors
    /// As [`Blocks::next_block`] and [`Block::frame`].
    pub fn all(&self) -> Result<LazyFrame> {
        let mut frames = Vec::new();
        while let Some(block) = self.next_block()? {
            frames.push(block.frame()?);
        }
        if frames.is_empty() {
            return empty(self.extracted.dataset);
        }
        concat(frames, UnionArgs::default()).map_err(|_| {
            Error::internal(format!("{}: the blocks do not fit together", self.extracted.dataset))
        })
    }

    fn open(&self, file: &SourceFile) -> Result<Open> {
        let dataset = self.extracted.dataset;
        Ok(match file.format {
            Format::Csv => {
                let (reader, raw) = open_delimited(dataset, file)?;
                Open::Delimited { reader: Box::new(reader), raw }
            }
            Format::Parquet => {
                let opened = parquet_file::open(dataset, file)?;
                // Again: the file may have changed since.
                opened.check(dataset, file)?;
                Open::Parquet(Box::new(opened.batches(file)?))
            }
            Format::Database => fetched(self.extracted)?,
        })
    }

    fn cut(
        &self,
        file: &SourceFile,
        open: &mut Open,
        before: u64,
    ) -> Result<Option<(Content, Census)>> {
        let dataset = self.extracted.dataset;
        match open {
            Open::Delimited { reader, raw } => {
                let Some(delimited::Block { bytes, cut, lines_before }) =
                    next_delimited(dataset, file, reader, before)?
                else {
                    // The bytes read must match the fingerprint.
                    check_unchanged(dataset, file, raw)?;
                    return Ok(None);
                };
                let census = Census {
                    records: cut.records,
                    blank_lines: cut.blank_lines,
                    comments: cut.comments,
                    carriage_returns: cut.carriage_returns,
                };
                Ok(Some((Content::Delimited { bytes, lines_before }, census)))
            }
            Open::Parquet(batches) => Ok(batches.next(dataset, file)?.map(|batch| {
                let census = Census { records: batch.rows(), ..Census::default() };
                (Content::Parquet(batch), census)
            })),
            Open::Rows { frame, rows } => {
                let records = BLOCK_ROWS.min(*rows - before);
                let offset = i64::try_from(before).unwrap_or(i64::MAX);
                let slice =
                    (**frame).clone().slice(offset, u32::try_from(records).unwrap_or(u32::MAX));
                let content = Content::Rows(Box::new(slice));
                let census = Census { records, ..Census::default() };
                Ok((records > 0).then_some((content, census)))
            }
        }
    }
}

/// Opens a delimited file at its first record; also returns the hashing reader.
pub(super) fn open_delimited(dataset: Dataset, file: &SourceFile) -> Result<(Reader, Raw)> {
    let unreadable = |error| file.unreadable(dataset, &error);
    let how = delimited(file)?;
    let raw = Raw::new(file.open().map_err(unreadable)?);
    let unpacked = format::unpack(raw.clone(), file.compression).map_err(unreadable)?;
    Ok((Reader::new(how.text.decode(unpacked), dialect(file)?, how.header_end), raw))
}

/// The next block of a delimited file.
pub(super) fn next_delimited(
    dataset: Dataset,
    file: &SourceFile,
    reader: &mut Reader,
    before: u64,
) -> Result<Option<delimited::Block>> {
    reader.next().map_err(|error| file.unreadable(dataset, &error))?.map_err(|_| {
        Error::source(format!(
            "{dataset}: {}: record {} does not end within {} MiB",
            file.path.display(),
            before + 1,
            delimited::RECORD_BYTES >> 20
        ))
        .hint("is this a text file, and its encoding the configured one?")
    })
}

fn delimited(file: &SourceFile) -> Result<&Delimited> {
    file.delimited.as_ref().ok_or_else(|| Error::internal("a delimited file without a header"))
}

pub(super) fn dialect(file: &SourceFile) -> Result<Dialect> {
    let Delimited { separator, comment, .. } = *delimited(file)?;
    Ok(Dialect { separator, comment, fields: file.header.len() })
}

/// About 100,000 records from one or more files, in order.
pub struct Block<'a> {
    dataset: Dataset,
    parts: Vec<FileRecords<'a>>,
    filtered: &'a AtomicU64,
}

/// Consecutive records of one file.
struct FileRecords<'a> {
    file: &'a SourceFile,
    /// Origin of the file's record 0.
    base: i64,
    /// Number of preceding records in the file.
    before: u64,
    records: u64,
    content: Content,
}

enum Content {
    Delimited { bytes: Vec<u8>, lines_before: u64 },
    Parquet(parquet_file::Batch),
    Rows(Box<LazyFrame>),
}

impl Block<'_> {
    /// Number of records, including unreadable ones.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.parts.iter().map(|part| part.records).sum()
    }

    /// Whether there are enough rows to amortise the plan's cost. Limits the number of files held.
    fn is_full(&self) -> bool {
        self.parts.len() >= MAX_PARTS || self.records() >= MIN_ROWS
    }

    /// The block's claim rows: contract columns in contract order as text (null for an absent
    /// optional column), then [`ORIGIN`], [`DAMAGE`], [`RAW`], [`SOURCE_LINE`] and [`ID_DAMAGE`].
    /// An empty field is null, a quoted empty field is an empty string; a damaged record is all
    /// null.
    ///
    /// Polars errors from executing the plan can quote data and must not be passed on.
    ///
    /// # Errors
    /// `Source` when a file has too many records.
    pub fn frame(self) -> Result<LazyFrame> {
        let Self { dataset, parts, filtered } = self;
        let several = parts.len() > 1;
        let unlike = |_| Error::internal("the pieces of a block do not fit together");
        let mut all: Option<DataFrame> = None;
        for part in parts {
            let (frame, left_out) = part.frame(dataset)?;
            filtered.fetch_add(left_out, Ordering::Relaxed);
            match &mut all {
                None => all = Some(frame),
                Some(all) => drop(all.vstack_mut(&frame).map_err(unlike)?),
            }
        }
        let Some(mut all) = all else { return empty(dataset) };
        if several {
            all.rechunk_mut();
        }
        Ok(all.lazy())
    }
}

impl FileRecords<'_> {
    /// Builds the frame of claim rows; also returns the number of dropped rows.
    fn frame(self, dataset: Dataset) -> Result<(DataFrame, u64)> {
        let file = self.file;
        let overflow = || too_many(dataset);
        let (mut columns, damaged, lines) = match self.content {
            Content::Parquet(batch) => {
                let (columns, damaged) = batch.table(dataset, file)?;
                (columns, damaged, None)
            }
            Content::Rows(frame) => {
                let frame = frame.collect();
                let frame = frame.map_err(|_| Error::internal("rows of a database in memory"))?;
                (frame.columns().to_vec(), Vec::new(), None)
            }
            Content::Delimited { bytes, lines_before } => {
                let layout = layout(file)?;
                let records = usize::try_from(self.records).map_err(|_| overflow())?;
                let Table { columns, damaged, lines } =
                    delimited::read(bytes, records, &layout).ok_or_else(overflow)?;
                let lines_before = i64::try_from(lines_before).map_err(|_| overflow())?;
                let lines = lines.into_iter().map(|line| lines_before + line + 1).collect();
                (columns, damaged, Some(integers(SOURCE_LINE, lines)))
            }
        };
        let rows = columns.first().map_or(0, Column::len);
        let first = i64::try_from(self.before + 1).map_err(|_| overflow())? + self.base;
        let last = first + i64::try_from(rows).map_err(|_| overflow())?;
        columns.push(integers(ORIGIN, (first..last).collect()));
        columns.extend(damage(rows, &damaged));
        let no_lines = || Column::full_null(SOURCE_LINE.into(), rows, &DataType::Int64);
        columns.push(lines.unwrap_or_else(no_lines));
        let frame = DataFrame::new(rows, columns)
            .map_err(|_| Error::internal("a block's columns differ in length"))?;
        projection::apply(dataset, file, frame)
    }
}

fn integers(name: &str, values: Vec<i64>) -> Column {
    Int64Chunked::from_vec(name.into(), values).into_column()
}

fn damage(rows: usize, damaged: &[Damaged]) -> [Column; 2] {
    let full_null = |name: &str, of: &DataType| Column::full_null(name.into(), rows, of);
    if damaged.is_empty() {
        return [full_null(DAMAGE, &DataType::Int32), full_null(RAW, &DataType::String)];
    }
    let mut codes = vec![None; rows];
    let mut texts = vec![None; rows];
    for found in damaged {
        codes[found.row] = Some(rule(found.damage).code());
        texts[found.row] = Some(found.raw.as_str());
    }
    [
        Int32Chunked::from_iter_options(DAMAGE.into(), codes.into_iter()).into_column(),
        StringChunked::from_iter_options(RAW.into(), texts.into_iter()).into_column(),
    ]
}

fn rule(damage: Damage) -> Rule {
    match damage {
        Damage::TooFewFields => Rule::TooFewFields,
        Damage::TooManyFields => Rule::TooManyFields,
        Damage::QuoteUnclosed => Rule::QuoteUnclosed,
        Damage::QuoteMalformed => Rule::QuoteMalformed,
        Damage::HeaderRepeated => Rule::HeaderRepeated,
        Damage::EncodingInvalid => Rule::EncodingInvalid,
        Damage::NulCharacter => Rule::NulCharacter,
    }
}

/// A block frame without rows.
fn empty(dataset: Dataset) -> Result<LazyFrame> {
    let none = |name: &str, of: &DataType| Column::new_empty(name.into(), of);
    let mut columns: Vec<Column> =
        dataset.columns().map(|column| none(column, &DataType::String)).collect();
    columns.push(integers(ORIGIN, Vec::new()));
    columns.extend(damage(0, &[]));
    columns.push(integers(SOURCE_LINE, Vec::new()));
    columns.push(none(ID_DAMAGE, &DataType::Int32));
    let frame = DataFrame::new(0, columns);
    frame.map(IntoLazy::lazy).map_err(|_| Error::internal("a frame without rows"))
}

/// Origin of a file's record 0.
fn base(dataset: Dataset, number: usize) -> Result<i64> {
    i64::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(1 << ORIGIN_RECORD_BITS))
        .ok_or_else(|| Error::config(format!("{dataset}: too many files")))
}

/// Mapping of the file's fields to columns.
fn layout(file: &SourceFile) -> Result<Layout> {
    let how = delimited(file)?;
    let used = projection::fields(file);
    let index = |name: &String| used.iter().position(|used| used == name);
    let fields = file.header.iter().map(index).collect();
    let names = (0..used.len()).map(projection::name).collect();
    let (separator, comment, header) = (how.separator, how.comment, how.record.clone());
    Ok(Layout { fields, names, separator, comment, header })
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
    Ok(Open::Rows { frame: Box::new(fetched.lazy()), rows: fetched.rows() })
}

#[cfg(not(feature = "database"))]
fn fetched(_: &Extracted) -> Result<Open> {
    Err(Error::internal("this build cannot read from a database"))
}
