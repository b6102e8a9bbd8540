//! SQL for database sources: table names, column metadata, range partitions.

/// Postgres type names that can be range-partitioned.
const NUMERIC: [&str; 6] = ["smallint", "integer", "bigint", "numeric", "real", "double precision"];

/// `SELECT` of all rows of `schema.table`, with Postgres identifier rules: folded to lower case
/// unless quoted. `None` when the text is not a name.
pub(super) fn table_query(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, after) = until_quote(quoted)?;
            name = inside;
            rest = after;
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let plain = |c: char| c.is_alphanumeric() || "_$".contains(c);
            name = Some(&rest[..end]).filter(|name| name.chars().all(plain))?.to_lowercase();
            rest = &rest[end..];
        }
        parts.push(Some(name).filter(|name| !name.is_empty() && !name.contains('\0'))?);
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => break,
            None => return None,
        }
    }
    let quoted: Vec<String> = parts.iter().map(|name| quoted(name)).collect();
    (parts.len() <= 2).then(|| format!("SELECT * FROM {}", quoted.join(".")))
}

/// The rest of a quoted identifier after its opening quote, and the remaining text.
fn until_quote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

/// Quotes an identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Query for the result columns' names, one row each in order, without running `query` itself. The
/// driver's own metadata would reject unknown types.
pub(super) fn names_of(query: &str) -> String {
    format!(
        "SELECT json_object_keys(row_to_json(r)) AS name FROM \
         (SELECT q.* FROM (VALUES (1)) AS one LEFT JOIN ({query}\n) AS q ON false) AS r"
    )
}

/// Query for the types of these columns in one row; domains give their base type.
pub(super) fn types_of(query: &str, names: &[&str]) -> String {
    let types = names.iter().enumerate().map(|(index, name)| {
        format!("pg_typeof(coalesce(q.{}, NULL))::text AS t{index}", quoted(name))
    });
    format!(
        "SELECT {} FROM (VALUES (1)) AS one LEFT JOIN ({query}\n) AS q ON false",
        types.collect::<Vec<_>>().join(", ")
    )
}

/// A range partitioning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    /// Quoted column name.
    column: String,
    /// Whether the column is an integer.
    whole: bool,
    count: u16,
}

impl Partition {
    /// Partitions by a column; `None` when the type has no ranges.
    pub(super) fn new(name: &str, kind: &str, count: u16) -> Option<Self> {
        let whole = matches!(kind, "smallint" | "integer" | "bigint");
        NUMERIC.contains(&kind).then(|| Self { column: quoted(name), whole, count })
    }

    /// Query for the upper bound of each range and the total row count.
    pub(super) fn bounds_of(&self, query: &str) -> String {
        let Self { column, whole, count } = self;
        let bound = format!("s.low + (s.high - s.low) * i / {count}");
        let bound = if *whole { format!("ceil({bound})") } else { format!("({bound})") };
        format!(
            "SELECT {bound}::text AS bound, s.n::text AS n FROM \
             (SELECT min(q.{column})::numeric AS low, max(q.{column})::numeric AS high, \
             count(*) AS n FROM ({query}\n) AS q) AS s \
             CROSS JOIN generate_series(1, {count}) AS i ORDER BY i"
        )
    }

    /// `WHERE` conditions in range order; the last one includes nulls.
    pub(super) fn conditions(&self, bounds: &[Option<String>]) -> Vec<String> {
        let column = &self.column;
        let inner: Vec<String> = bounds
            .iter()
            .take(usize::from(self.count) - 1)
            .flatten()
            .map(|bound| self.literal(bound))
            .collect();
        if inner.is_empty() || inner.len() + 1 < usize::from(self.count) {
            return vec!["true".into()];
        }
        let mut conditions = vec![format!("q.{column} < {}", inner[0])];
        for ends in inner.windows(2) {
            conditions.push(format!("q.{column} >= {} AND q.{column} < {}", ends[0], ends[1]));
        }
        let last = &inner[inner.len() - 1];
        conditions.push(format!("(q.{column} >= {last} OR q.{column} IS NULL)"));
        conditions
    }

    /// Integer literals stay integers, so that an index can be used.
    fn literal(&self, bound: &str) -> String {
        let digits = bound.strip_prefix('-').unwrap_or(bound);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if self.whole && plain { format!("({bound})") } else { format!("'{bound}'::numeric") }
    }

    /// `ORDER BY` of all rows. Ties are broken by the text columns, so that the order does not
    /// depend on physical location or on the number of ranges.
    pub(super) fn order(&self, texts: &[String]) -> String {
        let texts = texts.iter().map(|text| format!("{text} COLLATE \"C\""));
        let order = std::iter::once(format!("q.{} NULLS LAST", self.column)).chain(texts);
        format!(" ORDER BY {}", order.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_postgres_reads_them() {
        for (text, query) in [
            ("claims", Some("\"claims\"")),
            (" Raw.Claims ", Some("\"raw\".\"claims\"")),
            ("\"Raw\".\"a.b\"", Some("\"Raw\".\"a.b\"")),
            ("\"a\"\"; DROP TABLE x; --\"", Some("\"a\"\"; DROP TABLE x; --\"")),
            ("a; DROP TABLE x", None),
            ("a b", None),
            ("a.b.c", None),
            ("\"a", None),
            ("\"a\"b", None),
            ("a.", None),
            ("", None),
        ] {
            let expected = query.map(|name| format!("SELECT * FROM {name}"));
            assert_eq!(table_query(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_hold_every_row_once() {
        let partition = |count| Partition::new("n", "bigint", count).expect("numeric");
        let bounds = |texts: &[&str]| -> Vec<Option<String>> {
            texts.iter().map(|text| Some((*text).to_owned())).collect()
        };
        assert_eq!(partition(1).conditions(&bounds(&["9"])), ["true"]);
        assert_eq!(
            partition(3).conditions(&bounds(&["-4", "3", "9"])),
            [
                "q.\"n\" < (-4)",
                "q.\"n\" >= (-4) AND q.\"n\" < (3)",
                "(q.\"n\" >= (3) OR q.\"n\" IS NULL)"
            ]
        );
        assert_eq!(partition(3).conditions(&[None, None, None]), ["true"], "only nulls");
        let odd = Partition::new("n", "numeric", 2).expect("numeric");
        assert_eq!(odd.conditions(&bounds(&["NaN", "NaN"]))[0], "q.\"n\" < 'NaN'::numeric");
        assert_eq!(Partition::new("n", "text", 2), None);
    }
}
