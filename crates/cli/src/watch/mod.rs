//! What the watch is lent by the top floor: what settings and databases of clients mean.

mod content;
mod included;
mod keys;
mod rows;
mod rows_dump;
mod settings;
mod text;

pub(crate) use content::Meaning;
