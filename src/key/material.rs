//! The text form of a key, and detection of weak keys.
//!
//! Rejects only what random bytes produce with a probability below 2^-40.

use secrecy::SecretBox;
use secrecy::zeroize::Zeroizing;

use crate::error::{Error, Result};

pub(super) const KEY_BYTES: usize = 32;

/// Maximum text length of a key in bytes: three lines of a chain with line endings.
pub(super) const MAX_TEXT: usize = 200;

/// Maximum number of keys in a chain: what fits into [`MAX_TEXT`].
pub(super) const MAX_KEYS: usize = 3;

pub(super) type Material = SecretBox<[u8; KEY_BYTES]>;

/// Parses a key, or a chain with one key per line, oldest first.
///
/// # Errors
/// `Config` for any other text, which is never quoted.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Material>> {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let keys: Vec<Material> = words.map(one).collect::<Result<_>>()?;
    if keys.is_empty() {
        return Err(refused("there is nothing"));
    }
    if keys.len() > MAX_KEYS {
        return Err(refused("a chain has three keys at most"));
    }
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].iter().any(|earlier| same(earlier, key)) {
            return Err(refused("the chain contains one key twice"));
        }
    }
    Ok(keys)
}

fn same(one: &Material, other: &Material) -> bool {
    use secrecy::ExposeSecret as _;
    // Constant-time comparison.
    blake3::Hash::from_bytes(*one.expose_secret()) == *other.expose_secret()
}

/// Parses 64 hex digits.
fn one(digits: &[u8]) -> Result<Material> {
    if digits.len() != 2 * KEY_BYTES {
        return Err(refused("64 hex digits (32 random bytes) are needed"));
    }
    let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return Err(refused("64 hex digits (32 random bytes) are needed")),
        }
    }
    if let Some(why) = no_chance(&bytes) {
        return Err(refused(why));
    }
    let mut kept = Box::new([0_u8; KEY_BYTES]);
    kept.copy_from_slice(bytes.as_slice());
    Ok(SecretBox::new(kept))
}

fn refused(why: &str) -> Error {
    Error::config(format!("not a key: {why}"))
        .hint("a passphrase would be guessable; `claims-etl key generate` makes a key")
}

/// Why these bytes are evidently not random.
fn no_chance(bytes: &[u8; KEY_BYTES]) -> Option<&'static str> {
    let repeats = |period: usize| bytes.iter().zip(&bytes[period..]).all(|(one, next)| one == next);
    let step = bytes[1].wrapping_sub(bytes[0]);
    let counts = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if bytes.iter().all(|byte| *byte == 0) {
        Some("all of its bytes are zero")
    } else if [1, 2, 4, 8, 16].into_iter().any(repeats) {
        Some("its bytes repeat themselves")
    } else if counts {
        Some("its bytes only count")
    } else if is_text {
        Some("its bytes are a text, and hex does not make a text random")
    } else {
        None
    }
}

/// Writes a line of a key file.
pub(super) fn line(bytes: &[u8; KEY_BYTES], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const GOOD: &str = "5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5";

    #[test]
    fn what_cannot_be_random_is_refused_with_the_reason() {
        let hex =
            |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        let counting = hex(&(0..32).collect::<Vec<u8>>());
        let text = hex(b"correct horse battery staple 123");
        for (key, why) in [
            ("00".repeat(32), "zero"),
            ("a7".repeat(32), "repeat"),
            ("0123456789abcdef".repeat(4), "repeat"),
            (counting, "count"),
            (text, "a text"),
            ("correct horse battery staple".to_owned(), "64 hex digits"),
            ("zz".repeat(32), "64 hex digits"),
            (String::new(), "nothing"),
            (format!("{GOOD}\n{GOOD}"), "twice"),
            (format!("{GOOD} ").repeat(4), "three"),
        ] {
            let error = parse(key.as_bytes()).expect_err(why);
            assert!(error.message().contains(why), "{error}");
            assert!(!error.to_string().contains("horse"), "{error}");
        }
    }

    #[test]
    fn a_line_reads_back_whatever_ends_it() {
        let key = parse(format!("  {}\r\n", GOOD.to_uppercase()).as_bytes()).expect("a key");
        let mut text = Vec::new();
        line(key[0].expose_secret(), &mut text);
        assert_eq!(text, format!("{GOOD}\n").into_bytes());
    }
}
