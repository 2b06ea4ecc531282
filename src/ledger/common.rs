//! What rows have in common: written once, named by a number. Most requests of a gateway ask with the same key, by the same
//! policy, and go to the same few targets; these texts are the larger part of a row.

use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sha2::{Digest, Sha256};

/// Most rows of a table whose numbers are remembered. Beyond it all are forgotten, and asked of the database again.
const MOST: usize = 4_096;

/// A column and its value.
pub(super) type Column<'v> = (&'static str, ValueRef<'v>);

/// The numbers of the rows that are there already. Forget them when a transaction is rolled back: its rows are gone.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// By table; there are a handful.
    tables: Vec<(&'static str, Known)>,
    /// The values of the row that is looked for, kept for its memory.
    shape: Vec<u8>,
}

/// The rows of one table.
#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Box<[u8]>, i64>,
    /// The last one: the next is mostly the same, and comparing takes a tenth of the time of hashing.
    last: Option<(Vec<u8>, i64)>,
}

impl Common {
    /// The number of the row of this table (`request_common`, …) with these values; made if there is none.
    pub(super) fn number(
        &mut self,
        connection: &Connection,
        table: &'static str,
        row: &[Column<'_>],
    ) -> Result<i64, rusqlite::Error> {
        self.shape.clear();
        row.iter().for_each(|(_, value)| write(&mut self.shape, *value));
        let at = self.tables.iter().position(|(name, _)| *name == table).unwrap_or_else(|| {
            self.tables.push((table, Known::default()));
            self.tables.len() - 1
        });
        let known = &mut self.tables[at].1;
        if let Some((_, number)) = known.last.as_ref().filter(|(shape, _)| *shape == self.shape) {
            return Ok(*number);
        }
        let number = match known.numbers.get(&*self.shape) {
            Some(number) => *number,
            None => known.add(find_or_make(connection, table, row, &self.shape)?, &self.shape),
        };
        let (shape, last) = known.last.get_or_insert_default();
        shape.clone_from(&self.shape);
        *last = number;
        Ok(number)
    }

    /// Forgets all numbers.
    pub(super) fn forget(&mut self) {
        self.tables.clear();
    }
}

impl Known {
    fn add(&mut self, number: i64, shape: &[u8]) -> i64 {
        if self.numbers.len() >= MOST {
            self.numbers.clear();
        }
        self.numbers.insert(shape.into(), number);
        number
    }
}

fn find_or_make(
    connection: &Connection,
    table: &str,
    row: &[Column<'_>],
    shape: &[u8],
) -> Result<i64, rusqlite::Error> {
    let whole = Sha256::digest(shape);
    let digest = &whole[..16];
    let mut find = connection.prepare_cached(&format!("SELECT id FROM {table} WHERE digest = ?1"))?;
    if let Some(number) = find.query_row([digest], |found| found.get(0)).optional()? {
        return Ok(number);
    }
    let (mut names, mut places) = (String::new(), String::new());
    for (name, _) in row {
        names.extend([", ", name]);
        places.push_str(", ?");
    }
    let sql = format!("INSERT INTO {table} (digest{names}) VALUES (?{places})");
    let values = std::iter::once(ValueRef::Blob(digest)).chain(row.iter().map(|(_, value)| *value));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values.map(ToSqlOutput::Borrowed)))?;
    Ok(connection.last_insert_rowid())
}

/// A value so that no two rows are written alike: its kind, its length, itself.
fn write(shape: &mut Vec<u8>, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => {
            shape.push(1);
            shape.extend(number.to_le_bytes());
            return;
        }
        ValueRef::Real(number) => {
            shape.push(2);
            shape.extend(number.to_bits().to_le_bytes());
            return;
        }
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    shape.push(kind);
    shape.extend((bytes.len() as u64).to_le_bytes());
    shape.extend(bytes);
}

/// A text, or none.
pub(super) fn text<'v>(text: impl Into<Option<&'v str>>) -> ValueRef<'v> {
    text.into().map_or(ValueRef::Null, ValueRef::from)
}

/// A number, or none.
pub(super) fn number(number: impl Into<Option<i64>>) -> ValueRef<'static> {
    number.into().map_or(ValueRef::Null, ValueRef::Integer)
}
