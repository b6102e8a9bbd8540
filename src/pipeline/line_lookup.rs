//! Finds line numbers of records that only the second pass rejects.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::extract::{self, Extracted, Format};
use crate::quarantine::Rejected;
use crate::schema::{origin_file, origin_record};

/// Sets the line numbers of rejected claims from delimited files.
///
/// # Errors
/// `Source` when a file cannot be read again.
pub(crate) fn find_lines(claims: &Extracted, rejects: &mut [Rejected]) -> Result<()> {
    let record = |reject: &Rejected| u64::try_from(origin_record(reject.origin)).unwrap_or(0);
    let mut of_files: BTreeMap<i64, Vec<&mut Rejected>> = BTreeMap::new();
    for reject in rejects {
        of_files.entry(origin_file(reject.origin)).or_default().push(reject);
    }
    for (number, rejects) in of_files {
        let file = usize::try_from(number).ok().and_then(|number| claims.files.get(number));
        let Some(file) = file.filter(|file| file.format == Format::Csv) else { continue };
        let wanted: BTreeSet<u64> = rejects.iter().map(|reject| record(reject)).collect();
        let mut lines = BTreeMap::new();
        extract::records(claims.dataset, file, &wanted, &mut |original| {
            lines.insert(original.record, original.line);
            Ok(())
        })?;
        for reject in rejects {
            reject.line = lines.get(&record(&*reject)).copied();
        }
    }
    Ok(())
}
