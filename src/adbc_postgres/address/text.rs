//! Text of an address: extracts parameters, handles escapes.

use super::parameters::{Parameters, REFUSED};

/// The address without parameters unknown to the client's parser, and those parameters; `None` for
/// a malformed address.
pub(super) fn take_out(text: &str) -> Option<(String, Vec<(String, String)>)> {
    for scheme in ["postgres://", "postgresql://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return from_url(scheme, rest);
        }
    }
    from_keywords(text)
}

fn is_ours(name: &str) -> bool {
    Parameters::default().slot(name).is_some() || REFUSED.contains(&name)
}

/// `user:password@host/name?parameters`; a password may contain `/` and `?`.
fn from_url(scheme: &str, rest: &str) -> Option<(String, Vec<(String, String)>)> {
    let place = rest.find('@').map_or(0, |at| at + 1);
    let mark = rest[place..].find('?').map(|mark| place + mark);
    if rest[place..mark.unwrap_or(rest.len())].contains('@') {
        // An earlier delimiter is part of the password, and the rest would be shown as the host.
        return None;
    }
    let Some(mark) = mark else {
        return Some((format!("{scheme}{rest}"), Vec::new()));
    };
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for pair in rest[mark + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let name = decode(name)?;
        if is_ours(&name) {
            taken.push((name, decode(value)?));
        } else {
            kept.push(pair);
        }
    }
    let mark_if_any = if kept.is_empty() { "" } else { "?" };
    Some((format!("{scheme}{}{mark_if_any}{}", &rest[..mark], kept.join("&")), taken))
}

/// `name = value name = 'value'`, with `\` escapes.
fn from_keywords(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let (mut kept, mut taken) = (String::new(), Vec::new());
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_whitespace() || c == '=')?;
        let (name, after) = rest.split_at(end);
        let after = after.trim_start().strip_prefix('=')?.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => {
                let (value, after) = unescaped(quoted, |c| c == '\'')?;
                (value, after.strip_prefix('\'')?)
            }
            None => unescaped(after, char::is_whitespace)?,
        };
        if is_ours(name) {
            taken.push((name.to_owned(), value));
        } else {
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            kept.extend([name, "='", value.as_str(), "' "]);
        }
        rest = after.trim_start();
    }
    Some((kept, taken))
}

/// The unescaped text up to the terminating character, and the rest.
fn unescaped(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        if ends(sign) {
            return Some((value, &text[at..]));
        }
        value.push(if sign == '\\' { signs.next()?.1 } else { sign });
    }
    Some((value, ""))
}

/// Percent-decodes a part of a URL.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&(mut first), tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|d| char::from(*d).to_digit(16));
        let escaped = digit(0).zip(digit(1)).filter(|_| first == b'%');
        (first, rest) = match escaped {
            Some((high, low)) => (u8::try_from(high << 4 | low).ok()?, &tail[2..]),
            None => (first, tail),
        };
        bytes.push(first);
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes a part of a URL.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~/,".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_stays_as_it_was() {
        for text in [
            "postgres://me:p%40w@db/x?options=-c%20a%3Db",
            "postgres://db",
            "postgres://me:p?sslmode=disable@db/x",
        ] {
            assert_eq!(take_out(text), Some((text.to_owned(), Vec::new())));
        }
        let (rest, taken) = take_out(r"host=db password='a\'b\\c' user=x\ y").expect("readable");
        assert_eq!(rest, r"host='db' password='a\'b\\c' user='x y' ");
        assert_eq!(taken, []);
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        let (rest, taken) = take_out("postgres://db/x?ssl%6Dode=require").expect("readable");
        assert_eq!((rest.as_str(), taken.len()), ("postgres://db/x", 1));
    }

    #[test]
    fn escapes_go_there_and_back() {
        for text in ["a b", "é&=?@:%", "%2", "/run/pg,db"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(decode("%ff"), None);
    }
}
