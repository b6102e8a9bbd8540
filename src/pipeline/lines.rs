//! The lines of records that only the second pass rejects.
//!
//! A file of its own because rows come back from the shuffle with their record's number alone: to
//! find the line, their file is walked through once more.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::extract::{self, Extracted, Format};
use crate::load::quarantine::Rejected;
use crate::schema::{origin_file, origin_record};

/// Fills in the lines of rejected claims that come from delimited files.
///
/// # Errors
/// `Source` when a file cannot be read again.
pub(super) fn find_lines(claims: &Extracted, rejects: &mut [Rejected]) -> Result<()> {
    let record = |reject: &Rejected| u64::try_from(origin_record(reject.origin)).unwrap_or(0);
    for (number, file) in (0..).zip(&claims.files) {
        let of_file = |reject: &Rejected| origin_file(reject.origin) == number;
        let wanted: BTreeSet<u64> = rejects.iter().filter(|r| of_file(r)).map(record).collect();
        if wanted.is_empty() || file.format != Format::Csv {
            continue;
        }
        let mut lines = BTreeMap::new();
        extract::records(claims.dataset, file, &wanted, &mut |original| {
            lines.insert(original.record, original.line);
            Ok(())
        })?;
        for reject in rejects.iter_mut().filter(|reject| of_file(reject)) {
            reject.line = lines.get(&record(reject)).copied();
        }
    }
    Ok(())
}
