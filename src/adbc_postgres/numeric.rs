//! Postgres' binary NUMERIC: conversion to decimal text and from decimals.

use std::fmt::Write as _;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Writes the number in `raw` to `out` in the server's text format; `None` if `raw` is not a
/// NUMERIC.
pub(super) fn write_text(raw: &[u8], out: &mut String) -> Option<()> {
    let mut words = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let groups = usize::from(words.next()?);
    let weight = i32::from(words.next()?.cast_signed());
    let sign = words.next()?;
    let scale = usize::from(words.next()?);
    if raw.len() != 8 + 2 * groups {
        return None;
    }
    match sign {
        0 => {}
        NEGATIVE => out.push('-'),
        NAN => out.push_str("NaN"),
        POSITIVE_INFINITY => out.push_str("Infinity"),
        NEGATIVE_INFINITY => out.push_str("-Infinity"),
        _ => return None,
    }
    if matches!(sign, NAN | POSITIVE_INFINITY | NEGATIVE_INFINITY) {
        return Some(());
    }

    // The first group has weight 10,000^weight; groups not sent are zero.
    if weight < 0 {
        out.push('0');
    }
    for place in 0..=weight {
        let group = words.next().unwrap_or(0);
        // Writing to a String cannot fail.
        let _ = if place == 0 { write!(out, "{group}") } else { write!(out, "{group:04}") };
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + scale;
        for _ in weight + 1..0 {
            out.push_str("0000");
        }
        while out.len() < end {
            let group = words.next().unwrap_or(0);
            let _ = write!(out, "{group:04}");
        }
        out.truncate(end);
    }
    Some(())
}

/// Appends `value · 10^-scale` as a length-prefixed NUMERIC.
pub(super) fn write_binary(value: i128, scale: i8, out: &mut Vec<u8>) {
    // Groups of four digits, lowest first; 39 digits plus a partial group at either end.
    let mut groups = [0_u16; 12];
    let mut count = 0;
    let exponent = -i32::from(scale);
    // Digits missing from the lowest group.
    let lacking = exponent.rem_euclid(4).unsigned_abs();
    let mut weight = (exponent - exponent.rem_euclid(4)) / 4 - 1;
    let magnitude = value.unsigned_abs();
    let first = 10_u16.pow(4 - lacking);
    let mut push = |group: u16| {
        weight += 1;
        // Trailing zero groups are omitted.
        if group != 0 || count > 0 {
            groups[count] = group;
            count += 1;
        }
    };
    // Nearly all values fit 64 bits, where division is far cheaper.
    #[expect(clippy::cast_possible_truncation, reason = "remainders below 10,000")]
    if let Ok(mut rest) = u64::try_from(magnitude) {
        if rest > 0 {
            push((rest % u64::from(first)) as u16 * 10_u16.pow(lacking));
            rest /= u64::from(first);
        }
        while rest > 0 {
            push((rest % 10_000) as u16);
            rest /= 10_000;
        }
    } else {
        let mut rest = magnitude;
        push((rest % u128::from(first)) as u16 * 10_u16.pow(lacking));
        rest /= u128::from(first);
        while rest > 0 {
            push((rest % 10_000) as u16);
            rest /= 10_000;
        }
    }
    if count == 0 {
        weight = 0;
    }
    let word = |number: i32| i16::try_from(number).unwrap_or_default().to_be_bytes();
    let digits = i32::try_from(count).unwrap_or_default();
    out.extend_from_slice(&(8 + 2 * digits).to_be_bytes());
    out.extend_from_slice(&word(digits));
    out.extend_from_slice(&word(weight));
    out.extend_from_slice(&if value < 0 { NEGATIVE } else { 0 }.to_be_bytes());
    out.extend_from_slice(&word(i32::from(scale).max(0)));
    for group in groups[..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Option<String> {
        let count = u16::try_from(groups.len()).expect("few groups");
        let mut raw = Vec::new();
        for word in [count, weight.cast_unsigned(), sign, scale].iter().chain(groups) {
            raw.extend(word.to_be_bytes());
        }
        let mut out = String::new();
        write_text(&raw, &mut out).map(|()| out)
    }

    #[test]
    fn digits_signs_and_scales() {
        let cases = [
            (text(0, 0, 2, &[12, 3400]), "12.34"),
            (text(0, 0, 0, &[]), "0"),
            (text(0, 0, 2, &[]), "0.00"),
            (text(-1, 0x4000, 2, &[100]), "-0.01"),
            (text(2, 0, 0, &[10]), "1000000000"),
            (text(2, 0, 2, &[99, 9999, 9999, 9900]), "9999999999.99"),
            (text(-3, 0, 10, &[100]), "0.0000000001"),
            (text(1, 0, 1, &[1, 2, 5000]), "10002.5"),
            (text(0, 0xC000, 0, &[]), "NaN"),
            (text(0, 0xD000, 0, &[]), "Infinity"),
            (text(0, 0xF000, 0, &[]), "-Infinity"),
        ];
        for (got, expected) in cases {
            assert_eq!(got.as_deref(), Some(expected));
        }
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(write_text(&[0, 1, 0, 0], &mut String::new()), None);
        assert_eq!(write_text(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1], &mut String::new()), None);
        assert_eq!(text(0, 0x1234, 0, &[1]), None);
    }
}
