//! Text columns that reference a shared text block instead of copying it.
//!
//! All offsets are checked here, so that no caller can create a view of invalid text.

use std::ops::Range;

use polars::prelude::{Column, IntoColumn, PlSmallStr, StringChunked};
use polars_arrow::array::{Utf8ViewArray, View};
use polars_arrow::bitmap::BitmapBuilder;
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

/// A UTF-8 text block shared by columns.
#[derive(Debug, Clone)]
pub(crate) struct TextBlock {
    bytes: Buffer<u8>,
}

impl TextBlock {
    /// Takes UTF-8 bytes of less than 4 GiB.
    ///
    /// # Errors
    /// Returns the bytes if invalid.
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Self, Vec<u8>> {
        if u32::try_from(bytes.len()).is_ok() && std::str::from_utf8(&bytes).is_ok() {
            Ok(Self { bytes: Buffer::from(bytes) })
        } else {
            Err(bytes)
        }
    }

    /// An empty block, for columns that own all their texts.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self { bytes: Buffer::from(Vec::new()) }
    }

    #[must_use]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Builds a text column; each value is part of the block or a separate text.
pub(crate) struct TextColumn<'a> {
    block: &'a TextBlock,
    views: Vec<View>,
    validity: BitmapBuilder,
    /// Texts not contained in the block.
    own: Vec<u8>,
    bytes: usize,
}

impl<'a> TextColumn<'a> {
    /// A column with capacity for `rows` texts.
    #[must_use]
    pub(crate) fn new(block: &'a TextBlock, rows: usize) -> Self {
        Self {
            block,
            views: Vec::with_capacity(rows),
            validity: BitmapBuilder::with_capacity(rows),
            own: Vec::new(),
            bytes: 0,
        }
    }

    /// Appends the block's text in `range`.
    ///
    /// # Panics
    /// When the range is out of bounds or splits a character; ranges come from ASCII separators.
    #[inline]
    pub(crate) fn push(&mut self, range: Range<usize>) {
        let bytes = self.block.bytes();
        assert!(is_boundary(bytes, range.start) && is_boundary(bytes, range.end));
        let text = &bytes[range.clone()];
        // A block is smaller than 4 GiB.
        #[expect(clippy::cast_possible_truncation, reason = "a block is less than 4 GiB")]
        let view = View::new_from_bytes(text, 0, range.start as u32);
        self.views.push(view);
        self.validity.push(true);
        self.bytes += text.len();
    }

    /// Appends a separate text.
    ///
    /// # Panics
    /// When the column's separate texts reach 4 GiB; they come from one block.
    pub(crate) fn push_own(&mut self, text: &str) {
        let start = u32::try_from(self.own.len()).expect("less than 4 GiB");
        self.own.extend_from_slice(text.as_bytes());
        self.views.push(View::new_from_bytes(text.as_bytes(), 1, start));
        self.validity.push(true);
        self.bytes += text.len();
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.views.push(View::default());
        self.validity.push(false);
    }

    #[must_use]
    #[expect(unsafe_code, reason = "the checked constructor reads every text once more")]
    pub(crate) fn finish(self, name: &str) -> Column {
        let buffers = [self.block.bytes.clone(), Buffer::from(self.own)];
        let length = buffers.iter().map(Buffer::len).sum();
        // SAFETY: each view was made from text of buffer 0 or 1 at its own offset; the block is
        // UTF-8 and views start and end at its character boundaries, own texts came as `str`;
        // there is one validity bit a view.
        let array = unsafe {
            Utf8ViewArray::new_unchecked(
                ArrowDataType::Utf8View,
                self.views.into(),
                Buffer::from_iter(buffers),
                self.validity.into_opt_validity(),
                Some(self.bytes),
                length,
            )
        };
        StringChunked::with_chunk(PlSmallStr::from(name), array).into_column()
    }
}

/// Whether `offset` is a character boundary of UTF-8 text.
#[inline]
fn is_boundary(bytes: &[u8], offset: usize) -> bool {
    match bytes.get(offset) {
        // A continuation byte is 0b10xxxxxx.
        Some(&byte) => byte & 0xc0 != 0x80,
        None => offset == bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> TextBlock {
        TextBlock::new("abc,V\u{ed}ctor,thirteen bytes".into()).expect("UTF-8")
    }

    #[test]
    fn parts_own_texts_and_nulls_read_back() {
        let block = block();
        let mut column = TextColumn::new(&block, 5);
        column.push(0..3);
        column.push_null();
        column.push_own("a text that is not in the block");
        column.push(4..11);
        column.push(12..26);
        column.push(3..3);
        let column = column.finish("a");
        let texts: Vec<Option<&str>> = column.str().expect("text").iter().collect();
        let own = "a text that is not in the block";
        let expected =
            [Some("abc"), None, Some(own), Some("V\u{ed}ctor"), Some("thirteen bytes"), Some("")];
        assert_eq!(texts, expected);
        assert_eq!(column.null_count(), 1);
    }

    #[test]
    fn only_utf8_is_a_block() {
        assert!(TextBlock::new(vec![b'a', 0xff]).is_err());
    }

    #[test]
    #[should_panic(expected = "is_boundary")]
    fn half_a_character_is_no_text() {
        TextColumn::new(&block(), 1).push(4..6);
    }

    #[test]
    #[should_panic(expected = "is_boundary")]
    fn beyond_the_block_is_no_text() {
        TextColumn::new(&block(), 1).push(0..99);
    }
}
