//! Validates National Provider Identifiers.
//!
//! An NPI is the last ten digits of a card number that begins with 80840, so the Luhn formula
//! applies (CMS, "NPI check digit", 2004).

/// Contribution of the prefix 80840 to the sum.
const PREFIX: u32 = 24;

/// Whether a provider id has ten digits but is not a valid NPI.
pub(super) fn is_false_npi(id: &str) -> bool {
    let Some(digits) = id.as_bytes().as_array::<10>() else { return false };
    digits.iter().all(u8::is_ascii_digit) && !is_npi(digits)
}

/// Ten digits: the first is 1 or 2, and the weighted sum ends in 0.
fn is_npi(digits: &[u8; 10]) -> bool {
    let sum = digits.iter().enumerate().fold(PREFIX, |sum, (place, digit)| {
        let digit = u32::from(digit - b'0');
        // Every second digit from the right is doubled, and its digits are added.
        let doubled = if digit > 4 { digit * 2 - 9 } else { digit * 2 };
        sum + if place % 2 == 0 { doubled } else { digit }
    });
    matches!(digits[0], b'1' | b'2') && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        // The CMS example, and numbers from the public registry.
        for npi in ["1234567893", "1245319599", "1679576722", "1003000126", "2000000002"] {
            assert!(!is_false_npi(npi), "{npi}");
        }
        for none in ["1234567890", "1234567892", "1324567893", "3234567897", "0000000000"] {
            assert!(is_false_npi(none), "{none}");
        }
    }

    #[test]
    fn every_wrong_last_digit_and_first_digit_is_seen() {
        for last in b'0'..=b'9' {
            let mut npi = *b"1234567893";
            npi[9] = last;
            assert_eq!(is_npi(&npi), last == b'3');
        }
        for first in [b'0', b'3', b'9'] {
            for last in b'0'..=b'9' {
                let mut npi = *b"1234567893";
                (npi[0], npi[9]) = (first, last);
                assert!(!is_npi(&npi));
            }
        }
    }

    #[test]
    fn what_has_another_form_is_no_npi_and_no_false_one() {
        for id in
            ["", "V1", "123456789", "12345678901", "12345-7893", "123456789\u{661}", "PRV-000001"]
        {
            assert!(!is_false_npi(id), "{id}");
        }
    }
}
