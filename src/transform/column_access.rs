//! Reads and builds columns without an `Option` per cell.
//!
//! Columns have a single chunk, as passed by [`super::expression::elementwise`].

use polars::prelude::{ChunkedArray, IntoSeries, PolarsNumericType, Series, StringChunked};

/// Calls `visit` with the row and text of each non-null cell.
#[inline]
pub(crate) fn each_text<'a>(text: &'a StringChunked, mut visit: impl FnMut(usize, &'a str)) {
    if text.null_count() == 0 {
        text.no_null_iter().enumerate().for_each(|(row, text)| visit(row, text));
    } else if text.null_count() < text.len() {
        for (row, text) in text.iter().enumerate() {
            if let Some(text) = text {
                visit(row, text);
            }
        }
    }
}

/// Whether all non-null texts pass.
#[inline]
pub(crate) fn all_texts(text: &StringChunked, mut passes: impl FnMut(&str) -> bool) -> bool {
    if text.null_count() == 0 {
        text.no_null_iter().all(passes)
    } else {
        text.null_count() == text.len() || text.iter().flatten().all(&mut passes)
    }
}

/// Calls `visit` with the row of each null.
pub(crate) fn each_null(series: &Series, mut visit: impl FnMut(usize)) {
    if series.null_count() > 0 {
        for chunk in series.is_null().downcast_iter() {
            chunk.values().true_idx_iter().for_each(&mut visit);
        }
    }
}

/// The values of a column; unspecified where null.
pub(crate) fn values<T: PolarsNumericType>(column: &ChunkedArray<T>) -> &[T::Native] {
    column.downcast_iter().next().map_or(&[], |chunk| chunk.values().as_slice())
}

/// Maps the texts with `read`; null where it returns `None` or the text is null.
#[inline]
pub(crate) fn read<T: PolarsNumericType>(
    text: &StringChunked,
    mut read: impl FnMut(&str) -> Option<T::Native>,
) -> ChunkedArray<T> {
    let mut values = vec![T::Native::default(); text.len()];
    let mut valid = vec![false; text.len()];
    each_text(text, |row, text| {
        if let Some(value) = read(text) {
            values[row] = value;
            valid[row] = true;
        }
    });
    nullable(text.name(), values, &valid)
}

/// A column from values and validity.
pub(crate) fn nullable<T: PolarsNumericType>(
    name: &str,
    values: Vec<T::Native>,
    valid: &[bool],
) -> ChunkedArray<T> {
    let whole = valid.iter().all(|&valid| valid);
    ChunkedArray::from_vec_validity(name.into(), values, (!whole).then(|| valid.into()))
}

/// [`nullable`] as a `Series`.
pub(crate) fn nullable_series<T: PolarsNumericType>(
    name: &str,
    values: Vec<T::Native>,
    valid: &[bool],
) -> Series
where
    ChunkedArray<T>: IntoSeries,
{
    nullable::<T>(name, values, valid).into_series()
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Int16Type, NewChunkedArray};

    use super::*;

    fn texts(texts: &[Option<&str>]) -> StringChunked {
        StringChunked::from_slice_options("a".into(), texts)
    }

    #[test]
    fn nulls_are_left_out_and_rows_kept() {
        let text = texts(&[None, Some("x"), None, Some("12")]);
        let mut seen = Vec::new();
        each_text(&text, |row, text| seen.push((row, text)));
        assert_eq!(seen, [(1, "x"), (3, "12")]);
        let mut nulls = Vec::new();
        each_null(&text.clone().into_series(), |row| nulls.push(row));
        assert_eq!(nulls, [0, 2]);
        let read: ChunkedArray<Int16Type> = read(&text, |text| text.parse().ok());
        assert_eq!(read.iter().collect::<Vec<_>>(), [None, None, None, Some(12)]);
        assert!(all_texts(&text, |text| text != "y") && !all_texts(&text, |text| text != "x"));
        assert!(all_texts(&texts(&[None]), |_| false) && all_texts(&texts(&[]), |_| false));
    }
}
