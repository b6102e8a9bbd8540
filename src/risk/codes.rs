//! Procedure codes by number, for all threads.
//!
//! Which number a code gets depends on the threads, so no result may depend on it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In place of a code's number: the row has no code.
pub const NO_CODE: u32 = u32::MAX - 1;
/// In place of a code's number: the row counts for no provider.
pub const UNCOUNTED: u32 = u32::MAX;

/// The codes that were seen, each with a number from 0.
#[derive(Debug, Default)]
pub struct Codes(Mutex<HashMap<String, u32>>);

impl Codes {
    pub(crate) fn number(&self, code: &str) -> u32 {
        let mut numbers = self.numbers();
        if let Some(&number) = numbers.get(code) {
            return number;
        }
        let number = u32::try_from(numbers.len()).unwrap_or(NO_CODE);
        numbers.insert(code.to_owned(), number);
        number
    }

    /// The codes by number.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        let numbers = self.numbers();
        let mut names = vec![String::new(); numbers.len()];
        for (name, &number) in numbers.iter() {
            if let Some(place) = names.get_mut(number as usize) {
                place.clone_from(name);
            }
        }
        names
    }

    fn numbers(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
