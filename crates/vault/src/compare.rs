//! What a format loses of a file: SOPS writes a file anew, so that `010` comes back as 8.

use crate::document::FormatError;
use crate::format::Format;
use crate::secret::Secret;
use crate::{dotenv, json, yaml};

/// A file that would not come back as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LostError {
    /// It cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A value would be another one.
    #[error("`{0}` would come back as another text")]
    Value(String),
    /// Something would be missing.
    #[error("the file would come back with other names, values or comments")]
    Shape,
}

/// Compares a plain file with what its encrypted form decrypts to: every value's own text, and every comment.
///
/// # Errors
/// Something is lost, or one of the files cannot be read.
pub fn compare(plain: &Secret, again: &Secret, format: Format) -> Result<(), LostError> {
    match format {
        Format::Binary => (plain == again).then_some(()).ok_or(LostError::Shape),
        Format::Dotenv => {
            let texts = |text: &Secret| dotenv::parse(text.expose()).map_err(FormatError::from);
            let is_same = dotenv::emit(&texts(plain)?).ok() == dotenv::emit(&texts(again)?).ok();
            is_same.then_some(()).ok_or(LostError::Shape)
        }
        Format::Json => same(
            &json::scalars(plain.expose()).map_err(FormatError::from)?,
            &json::scalars(again.expose()).map_err(FormatError::from)?,
        ),
        Format::Yaml => same(
            &yaml::scalars(plain.expose()).map_err(FormatError::from)?,
            &yaml::scalars(again.expose()).map_err(FormatError::from)?,
        ),
    }
}

/// A value where it stands: a text as it is meant, anything else as it is written.
pub(crate) struct Scalar {
    /// The names that lead to it, as they are shown.
    pub(crate) path: String,
    pub(crate) source: Secret,
}

fn same(plain: &[Scalar], again: &[Scalar]) -> Result<(), LostError> {
    for (one, other) in plain.iter().zip(again) {
        if one.path != other.path {
            return Err(LostError::Shape);
        }
        if one.source != other.source {
            return Err(LostError::Value(mantlet_ledger::escape(one.path.as_bytes())));
        }
    }
    if plain.len() == again.len() { Ok(()) } else { Err(LostError::Shape) }
}
