//! Reads just enough of Rust to know which paths a file names.

/// What a `use` brings into a file: a path, and the name that it binds.
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) binds: String,
    pub(crate) public: bool,
}

/// The imports of a file.
pub(crate) fn uses(tokens: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut position = 0;
    while position < tokens.len() {
        if tokens[position] != "use" {
            position += 1;
            continue;
        }
        let before = position.checked_sub(1).map_or("", |before| tokens[before].as_str());
        // `pub use`, or `pub(crate) use`.
        let public = before == "pub" || before == ")";
        let mut paths = Vec::new();
        let end = tree(tokens, position + 1, &[], &mut paths);
        for path in paths {
            let bound = path.iter().rev().find(|part| *part != "self").cloned();
            imports.push(Import { binds: bound.unwrap_or_default(), path, public });
        }
        position = end;
    }
    imports
}

/// Every path of two and more segments that the code names outside of its imports.
pub(crate) fn paths_of_code(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut position = 0;
    while position < tokens.len() {
        if tokens[position] == "use" {
            position = tree(tokens, position + 1, &[], &mut Vec::new());
            continue;
        }
        let mut path = Vec::new();
        while position < tokens.len() && is_name(&tokens[position]) {
            path.push(tokens[position].clone());
            position += 1;
            if tokens.get(position).is_none_or(|token| token != "::") {
                break;
            }
            position += 1;
        }
        if path.len() > 1 {
            paths.push(path);
        } else if path.is_empty() {
            position += 1;
        }
    }
    paths
}

/// The tokens of a file without its test modules.
pub(crate) fn without_tests(source: &str) -> Vec<String> {
    let mut tokens = tokens(source);
    let mark = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    while let Some(start) = tokens.windows(mark.len()).position(|window| window == mark) {
        let body = start + mark.len() + 1;
        let mut end = body + 1;
        if tokens.get(body).is_some_and(|token| token == "{") {
            let mut depth = 1;
            while depth > 0 && end < tokens.len() {
                depth += match tokens[end].as_str() {
                    "{" => 1,
                    "}" => -1,
                    _ => 0,
                };
                end += 1;
            }
        }
        tokens.drain(start..end.min(tokens.len()));
    }
    tokens
}

/// Every path that the code names, from its first segment on; `use` trees are spelt out.
pub(crate) fn paths(source: &str) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let mut paths = Vec::new();
    let mut position = 0;
    while position < tokens.len() {
        position = match tokens[position].as_str() {
            "use" => tree(&tokens, position + 1, &[], &mut paths),
            // A crate's name alone: made a path of two segments, as `use` does.
            "crate" if position > 0 && tokens[position - 1] == "extern" => {
                let name = tokens.get(position + 1).cloned().unwrap_or_default();
                paths.push(vec![name, "self".into()]);
                position + 2
            }
            token if is_name(token) => {
                let mut path = vec![token.to_owned()];
                position += 1;
                while position + 1 < tokens.len()
                    && tokens[position] == "::"
                    && is_name(&tokens[position + 1])
                {
                    path.push(tokens[position + 1].clone());
                    position += 2;
                }
                paths.push(path);
                position
            }
            _ => position + 1,
        };
    }
    paths
}

/// Reads one `use` tree from `position` on, writes its full paths and returns the position after.
fn tree(
    tokens: &[String],
    mut position: usize,
    prefix: &[String],
    paths: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(position).map(String::as_str) {
        position += 1;
        match token {
            "::" => {}
            "{" => {
                while tokens.get(position).is_some_and(|token| token != "}") {
                    position = tree(tokens, position, &path, paths);
                    if tokens.get(position).is_some_and(|token| token == ",") {
                        position += 1;
                    }
                }
                return position + 1;
            }
            // The path stays the name's own.
            "as" => position += 1,
            name if is_name(name) || name == "*" => path.push(name.to_owned()),
            _ => {
                position -= 1;
                break;
            }
        }
    }
    // `use name;` names the crate as much as a longer path does.
    if path.len() == 1 {
        path.push("self".into());
    }
    paths.push(path);
    position
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The code's names, `::` and single marks.
pub(crate) fn tokens(source: &str) -> Vec<String> {
    let code = without_text(source);
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = code.as_str();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// The code without comments, strings and characters; a blank stands for each.
fn without_text(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest));
        if let Some(length) = skipped {
            code.push(' ');
            rest = &rest[length..];
            continue;
        }
        // A whole name at once: the `r` in `for"` begins no raw string.
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = name.max(first.len_utf8());
        code.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    code
}

/// The length of the comment that `rest` begins with.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut position) = (0_usize, 0);
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                break;
            }
        } else {
            position += 1;
        }
    }
    Some(position)
}

/// The length of the string or character that `rest` begins with; a lifetime is neither.
fn literal(rest: &str) -> Option<usize> {
    let mark = rest.find(['"', '\'', '#'])?;
    if !["", "b", "c", "r", "br", "cr"].contains(&&rest[..mark]) {
        return None;
    }
    let body = &rest[mark..];
    if rest[..mark].ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if !body[hashes..].starts_with('"') {
            return None;
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let start = mark + hashes + 1;
        return rest[start..].find(&end).map(|length| start + length + end.len());
    }
    let quote = body.chars().next().filter(|first| *first != '#')?;
    let mut characters = body.char_indices().skip(1);
    while let Some((position, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return Some(mark + position + 1);
        } else if quote == '\'' && position > 1 && !body[1..].starts_with('\\') {
            // More than one character: a lifetime.
            return None;
        }
    }
    None
}
