//! What a column holds, in the few kinds that matter for keeping a value's meaning.
//!
//! PostgreSQL knows hundreds of types, and SQLite lets a table declare any word as one. For the way
//! of a value from JSON and back only this much is of interest: is it something that JSON has, one
//! of the types that travel as tagged text, or something whose text form the database alone reads.

/// The SQL that a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// The kind of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// True or false.
    Boolean,
    /// A whole number of at most 64 bits; the widths are 16, 32 and 64.
    Integer(u8),
    /// A binary floating point number.
    Float,
    /// An exact decimal number.
    Decimal,
    /// Text.
    Text,
    /// A UUID.
    Uuid,
    /// Bytes.
    Bytes,
    /// A date.
    Date,
    /// A time of day without an offset.
    Time,
    /// Date and time without an offset.
    LocalDatetime,
    /// A point in time.
    Datetime,
    /// A JSON document.
    Json,
    /// A type of PostgreSQL that is written and read as its text: enums, networks, ranges, intervals.
    Other,
    /// A column of SQLite whose declared type says nothing. `numeric` tells that SQLite turns text
    /// that looks like a number into one.
    Dynamic {
        /// Whether the column has numeric affinity.
        numeric: bool,
    },
}

/// The kind of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The kind of the value, or of the elements.
    pub(crate) scalar: Scalar,
    /// Whether it is an array of them.
    pub(crate) array: bool,
}

impl Kind {
    /// A kind that is not an array.
    pub(crate) const fn plain(scalar: Scalar) -> Self {
        Self {
            scalar,
            array: false,
        }
    }

    /// The kind of a PostgreSQL type of the schema `pg_catalog`, by its name there.
    pub(crate) fn of_postgres_type(name: &str) -> Scalar {
        match name {
            "bool" => Scalar::Boolean,
            "int2" => Scalar::Integer(16),
            "int4" => Scalar::Integer(32),
            "int8" => Scalar::Integer(64),
            "float4" | "float8" => Scalar::Float,
            "numeric" => Scalar::Decimal,
            "text" | "varchar" | "bpchar" | "name" => Scalar::Text,
            "uuid" => Scalar::Uuid,
            "bytea" => Scalar::Bytes,
            "date" => Scalar::Date,
            "time" => Scalar::Time,
            "timestamp" => Scalar::LocalDatetime,
            "timestamptz" => Scalar::Datetime,
            "json" | "jsonb" => Scalar::Json,
            _ => Scalar::Other,
        }
    }

    /// The kind that a declared type of SQLite stands for.
    ///
    /// The words are those that people write; where a word also exists in PostgreSQL it means the
    /// same here. What no word matches is judged by the rules of affinity
    /// (<https://www.sqlite.org/datatype3.html>, section 3.1).
    pub(crate) fn of_declared_type(declared: &str) -> Scalar {
        let upper = declared.to_ascii_uppercase();
        let word = upper.split('(').next().unwrap_or_default().trim();
        match word {
            "BOOL" | "BOOLEAN" => Scalar::Boolean,
            "DECIMAL" | "NUMERIC" => Scalar::Decimal,
            "DATE" => Scalar::Date,
            "TIME" => Scalar::Time,
            "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => Scalar::LocalDatetime,
            "DATETIME" | "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => Scalar::Datetime,
            "UUID" => Scalar::Uuid,
            "JSON" | "JSONB" => Scalar::Json,
            "BYTEA" => Scalar::Bytes,
            "" => Scalar::Dynamic { numeric: false },
            _ if upper.contains("INT") => Scalar::Integer(64),
            _ if ["CHAR", "CLOB", "TEXT"]
                .iter()
                .any(|one| upper.contains(one)) =>
            {
                Scalar::Text
            }
            _ if upper.contains("BLOB") => Scalar::Bytes,
            _ if ["REAL", "FLOA", "DOUB"]
                .iter()
                .any(|one| upper.contains(one)) =>
            {
                Scalar::Float
            }
            _ => Scalar::Dynamic { numeric: true },
        }
    }

    /// What the answer calls this kind, where a reader must convert the value; nothing where JSON
    /// says it all.
    pub(crate) fn on_the_wire(self) -> Option<&'static str> {
        Some(match (self.scalar, self.array) {
            (Scalar::Decimal, false) => "decimal",
            (Scalar::Datetime | Scalar::LocalDatetime, false) => "datetime",
            (Scalar::Date, false) => "date",
            (Scalar::Time, false) => "time",
            (Scalar::Uuid, false) => "uuid",
            (Scalar::Bytes, false) => "bytes",
            (Scalar::Float, false) => "float",
            (Scalar::Decimal, true) => "decimal[]",
            (Scalar::Datetime | Scalar::LocalDatetime, true) => "datetime[]",
            (Scalar::Date, true) => "date[]",
            (Scalar::Time, true) => "time[]",
            (Scalar::Uuid, true) => "uuid[]",
            (Scalar::Bytes, true) => "bytes[]",
            (Scalar::Float, true) => "float[]",
            (
                Scalar::Boolean
                | Scalar::Integer(_)
                | Scalar::Text
                | Scalar::Json
                | Scalar::Other
                | Scalar::Dynamic { .. },
                _,
            ) => return None,
        })
    }

    /// What a column of this kind takes, in words.
    pub(crate) fn takes(self) -> &'static str {
        if self.array {
            return "a list";
        }
        match self.scalar {
            Scalar::Boolean => "True or False",
            Scalar::Integer(16) => "a whole number of 16 bits",
            Scalar::Integer(32) => "a whole number of 32 bits",
            Scalar::Integer(_) => "a whole number of 64 bits",
            Scalar::Float => "a number",
            Scalar::Decimal => "a Decimal or a number",
            Scalar::Text => "text",
            Scalar::Uuid => "a UUID",
            Scalar::Bytes => "bytes",
            Scalar::Date => "a date",
            Scalar::Time => "a time without an offset",
            Scalar::LocalDatetime => "a datetime without an offset",
            Scalar::Datetime => "a datetime with an offset",
            Scalar::Json => "what JSON can say",
            Scalar::Other => "the text form of its type, or a number",
            Scalar::Dynamic { .. } => "a number, text, bytes, True or False",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A declared type means what the same word means in PostgreSQL, else what SQLite stores.
    #[test]
    fn declared_types() {
        for (declared, scalar) in [
            ("integer", Scalar::Integer(64)),
            ("BIGINT", Scalar::Integer(64)),
            ("VARCHAR(20)", Scalar::Text),
            ("decimal(10, 2)", Scalar::Decimal),
            ("NUMERIC", Scalar::Decimal),
            ("double precision", Scalar::Float),
            ("timestamp", Scalar::LocalDatetime),
            ("TIMESTAMPTZ", Scalar::Datetime),
            ("DateTime", Scalar::Datetime),
            ("boolean", Scalar::Boolean),
            ("BLOB", Scalar::Bytes),
            ("", Scalar::Dynamic { numeric: false }),
            ("STRING", Scalar::Dynamic { numeric: true }),
        ] {
            assert_eq!(Kind::of_declared_type(declared), scalar, "{declared}");
        }
    }
}
