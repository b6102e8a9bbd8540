//! Mapping of Arrow and Postgres types: for results, new tables and COPY.

use std::sync::Arc;

use adbc_core::error::{Error, Result, Status};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use postgres::types::{Kind, Type};

/// Days from Arrow's epoch (1970-01-01) to Postgres' (2000-01-01).
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// [`EPOCH_DAYS`] in microseconds.
pub(super) const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
pub(super) const UUID_BYTES: i32 = 16;

/// The base type of a domain; other types are unchanged.
pub(super) fn base(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(inner) => base(inner),
        _ => ty,
    }
}

/// The Arrow type of a result column.
///
/// `numeric` becomes exact decimal text: sums and averages have no declared precision and scale, so
/// Decimal128 could not be chosen before all values are known.
pub(super) fn result_type(column: &str, ty: &Type) -> Result<DataType> {
    Ok(match *base(ty) {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::JSON
        | Type::JSONB
        | Type::NUMERIC => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::UUID => DataType::FixedSizeBinary(UUID_BYTES),
        Type::VOID => DataType::Null,
        Type::INT4_ARRAY => list(DataType::Int32),
        Type::INT8_ARRAY => list(DataType::Int64),
        Type::TEXT_ARRAY => list(DataType::Utf8),
        ref other => {
            return Err(Error::with_message_and_status(
                format!("column {column} has the type {other}, which has no Arrow form here"),
                Status::NotImplemented,
            ));
        }
    })
}

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// The Postgres type of an array's elements; none where such arrays have no COPY form.
pub(super) fn element_type(field: &Field) -> Option<Type> {
    match field.data_type() {
        DataType::Int32 => Some(Type::INT4),
        DataType::Int64 => Some(Type::INT8),
        DataType::Utf8 => Some(Type::TEXT),
        _ => None,
    }
}

/// The Arrow schema of a statement's result. All fields are nullable, because Postgres does not
/// report nullability of results.
pub(super) fn result_schema(columns: &[postgres::Column]) -> Result<Schema> {
    let fields: Result<Vec<Field>> = columns
        .iter()
        .map(|c| Ok(Field::new(c.name(), result_type(c.name(), c.type_())?, true)))
        .collect();
    Ok(Schema::new(fields?))
}

/// The Postgres type that an ingest creates for an Arrow field.
pub(super) fn ddl_type(field: &Field) -> Result<String> {
    Ok(match field.data_type() {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::FixedSizeBinary(UUID_BYTES) => "uuid".into(),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => "bytea".into(),
        // Postgres has no negative scale, which denotes trailing zeros before the decimal point.
        DataType::Decimal128(precision, scale) => match u8::try_from(*scale) {
            Ok(scale) => format!("numeric({precision},{scale})"),
            Err(_) => format!("numeric({},0)", precision.saturating_add(scale.unsigned_abs())),
        },
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz".into(),
        DataType::List(of) if element_type(of).is_some() => format!("{}[]", ddl_type(of)?),
        _ => return Err(no_copy_form(field)),
    })
}

/// Whether COPY BINARY data of `field` has the same meaning for a column of type `ty`. The server
/// checks only lengths, and a bigint is as long as a double precision or a timestamp.
pub(super) fn is_copyable(field: &Field, ty: &Type) -> Result<bool> {
    let ty = base(ty);
    let accepted: &[Type] = match field.data_type() {
        DataType::Boolean => &[Type::BOOL],
        DataType::Int16 => &[Type::INT2],
        DataType::Int32 => &[Type::INT4],
        DataType::Int64 => &[Type::INT8],
        DataType::Float32 => &[Type::FLOAT4],
        DataType::Float64 => &[Type::FLOAT8],
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            &[Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::JSON]
        }
        DataType::FixedSizeBinary(UUID_BYTES) => &[Type::UUID, Type::BYTEA],
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => &[Type::BYTEA],
        DataType::Decimal128(..) => &[Type::NUMERIC],
        DataType::Date32 => &[Type::DATE],
        DataType::Timestamp(TimeUnit::Microsecond, None) => &[Type::TIMESTAMP],
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => &[Type::TIMESTAMPTZ],
        DataType::List(of) => match of.data_type() {
            DataType::Int32 => &[Type::INT4_ARRAY],
            DataType::Int64 => &[Type::INT8_ARRAY],
            DataType::Utf8 => &[Type::TEXT_ARRAY],
            _ => return Err(no_copy_form(field)),
        },
        _ => return Err(no_copy_form(field)),
    };
    Ok(accepted.contains(ty))
}

pub(super) fn no_copy_form(field: &Field) -> Error {
    Error::with_message_and_status(
        format!(
            "column {} has the Arrow type {}, which this driver does not write",
            field.name(),
            field.data_type()
        ),
        Status::NotImplemented,
    )
}

/// `name` as a quoted SQL identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `table`, qualified with `schema` if given, as SQL.
pub(super) fn qualified(schema: Option<&str>, table: &str) -> String {
    match schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(table)),
        None => quote(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_cannot_break_out() {
        assert_eq!(quote(r#"a"b"#), r#""a""b""#);
        assert_eq!(qualified(Some("s"), "t; DROP"), r#""s"."t; DROP""#);
    }

    #[test]
    fn a_bigint_is_not_written_into_a_double_precision() {
        let field = Field::new("n", DataType::Int64, false);
        assert!(is_copyable(&field, &Type::INT8).expect("written"));
        assert!(!is_copyable(&field, &Type::FLOAT8).expect("written"));
        assert!(!is_copyable(&field, &Type::TIMESTAMPTZ).expect("written"));
    }

    #[test]
    fn decimals_keep_their_digits() {
        let ddl = |p, s| ddl_type(&Field::new("d", DataType::Decimal128(p, s), true));
        assert_eq!(ddl(12, 2).expect("written"), "numeric(12,2)");
        assert_eq!(ddl(5, -2).expect("written"), "numeric(7,0)");
    }

    #[test]
    fn unknown_types_are_named() {
        let e = result_type("a", &Type::DATE_ARRAY).expect_err("no arrays of dates");
        assert_eq!(e.status, Status::NotImplemented);
        assert!(e.message.contains("_date") && e.message.contains("column a"), "{}", e.message);
        let e = ddl_type(&Field::new("u", DataType::UInt64, true)).expect_err("no unsigned");
        assert_eq!(e.status, Status::NotImplemented);
        assert!(e.message.contains("UInt64"), "{}", e.message);
    }
}
