//! What settings and databases of clients mean: lent to the watch, which compares and puts back by it. Nothing here notices
//! anything, and nothing beside what is compared is read.

mod content;
mod included;
mod keys;
mod rows;
mod rows_dump;
mod settings;
mod text;

pub(crate) use content::Meaning;
