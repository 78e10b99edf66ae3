//! What this room cannot do itself and the top floor lends it: sealing a record, and the rows of a database.
//!
//! The room stays without keys and without a C library.

use serde::{Deserialize, Serialize};

use crate::journal::RowEdit;
use crate::op::{self, Format, Op};
use std::path::Path;

use crate::ChangeError;

/// Why what was lent failed.
pub type LentError = Box<dyn std::error::Error + Send + Sync>;

/// A text in a database: which row, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The table.
    pub table: String,
    /// The column that tells rows apart.
    pub key_column: String,
    /// What it says in this row.
    pub key: String,
    /// The column that holds the text.
    pub text_column: String,
}

/// What the top floor lends.
pub trait Lent: std::fmt::Debug {
    /// Seals a record, so that only the owner can read it.
    ///
    /// # Errors
    /// There is no key to seal it for.
    fn seal(&self, record: &[u8]) -> Result<Vec<u8>, LentError>;

    /// Opens a record again.
    ///
    /// # Errors
    /// It was changed, or the key is not there.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, LentError>;

    /// Returns a row's text in a database that is given as its file's bytes; nothing when there is no such row.
    ///
    /// # Errors
    /// It is no database, or has another shape.
    fn row(&self, database: &[u8], row: &Row) -> Result<Option<String>, LentError>;

    /// Returns the database with these texts in these rows, and without anything that it has deleted.
    ///
    /// # Errors
    /// As [`Lent::row`].
    fn with_rows(&self, database: &[u8], rows: &[(Row, String)]) -> Result<Vec<u8>, LentError>;
}

/// Edits rows of a database, and says what takes the edits out again.
pub(crate) fn edit_rows(
    lent: Option<&dyn Lent>,
    path: &Path,
    database: &[u8],
    rows: &[(Row, Vec<Op>)],
) -> Result<(Vec<u8>, Vec<RowEdit>), ChangeError> {
    let (mut texts, mut edits) = (Vec::new(), Vec::new());
    for (row, ops) in rows {
        let text = text_of(lent, path, database, row)?.ok_or_else(|| ChangeError::Meanwhile(path.into()))?;
        let edit = |source| ChangeError::Edit { path: path.into(), source };
        let (after, undos) = op::apply(&text, Format::Json, ops).map_err(edit)?;
        texts.push((row.clone(), after));
        edits.push(RowEdit { row: row.clone(), undos });
    }
    Ok((write(lent, path, database, &texts)?, edits))
}

/// Takes the edits out of a database that somebody wrote to since. A row that is gone stays gone.
pub(crate) fn take_rows_back(
    lent: Option<&dyn Lent>,
    path: &Path,
    database: &[u8],
    edits: &[RowEdit],
) -> Result<Vec<u8>, ChangeError> {
    let mut texts = Vec::new();
    for RowEdit { row, undos } in edits {
        let Some(text) = text_of(lent, path, database, row)? else { continue };
        let edit = |source| ChangeError::Edit { path: path.into(), source };
        let back = op::take_back(&text, Format::Json, undos).map_err(edit)?;
        if back != text {
            texts.push((row.clone(), back));
        }
    }
    if texts.is_empty() { Ok(database.to_vec()) } else { write(lent, path, database, &texts) }
}

fn text_of(lent: Option<&dyn Lent>, path: &Path, database: &[u8], row: &Row) -> Result<Option<String>, ChangeError> {
    borrowed(lent, path)?.row(database, row).map_err(|source| ChangeError::Lent { path: path.into(), source })
}

fn write(
    lent: Option<&dyn Lent>,
    path: &Path,
    database: &[u8],
    texts: &[(Row, String)],
) -> Result<Vec<u8>, ChangeError> {
    borrowed(lent, path)?.with_rows(database, texts).map_err(|source| ChangeError::Lent { path: path.into(), source })
}

fn borrowed<'l>(lent: Option<&'l dyn Lent>, path: &Path) -> Result<&'l dyn Lent, ChangeError> {
    let source = || "this journal was opened without what reads a database".into();
    lent.ok_or_else(|| ChangeError::Lent { path: path.into(), source: source() })
}
